/** Install the page: a service worker keeps its files, so that it starts without a network. */

/**
 * Register the worker. A new version that waits takes over now, at the start of the page; later it would exchange files
 * under a recording: `isBusy` tells whether there is one.
 */
export async function install(isBusy) {
  const workers = navigator.serviceWorker;
  if (workers === undefined) return; // plain http
  const hadController = workers.controller !== null;
  const registration = await workers.register("student-worker.js", { scope: "student", updateViaCache: "none" });
  if (registration.waiting === null || !hadController || isBusy()) return;
  workers.addEventListener("controllerchange", () => isBusy() || location.reload(), { once: true });
  registration.waiting.postMessage("start");
}

/** Tell `changed` whether this page is open in another tab or window; it holds a lock for as long as it lives. */
export function watchOtherTabs(changed) {
  const held = () => new Promise(() => {});
  navigator.locks?.request("neuroone student", { ifAvailable: true }, (lock) => {
    if (lock !== null) return held();
    changed(true);
    navigator.locks.request("neuroone student", () => {
      changed(false);
      return held();
    });
    return null;
  });
}
