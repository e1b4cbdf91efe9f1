/** Install the page: a service worker keeps its files, so that it starts without a network. */

const TRY_FIRST_MS = 1000;
const TRY_LAST_MS = 60_000;

/**
 * Register the worker, again and again where the network changes meanwhile. A new version that waits takes over now, at
 * the start of the page; later it would exchange files under a recording: `isBusy` tells whether there is one.
 */
export async function install(isBusy) {
  const workers = navigator.serviceWorker;
  if (workers === undefined) return; // plain http
  const hadController = workers.controller !== null;
  const hadNew = Boolean((await workers.getRegistration("student"))?.waiting);
  let registration = await registered(workers);
  for (let wait = TRY_FIRST_MS; registration === null; wait = Math.min(2 * wait, TRY_LAST_MS)) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    registration = await registered(workers);
  }
  if (!hadNew || !hadController || isBusy()) return;
  workers.addEventListener("controllerchange", () => isBusy() || location.reload(), { once: true });
  registration.waiting?.postMessage("start");
}

/** Return the registration when its worker has all files; null if it could not get them. */
async function registered(workers) {
  const options = { scope: "student", updateViaCache: "none" };
  const registration = await workers.register("student-worker.js", options).catch(() => null);
  const worker = registration?.installing;
  if (!worker) return registration;
  await new Promise((resolve) => {
    worker.addEventListener("statechange", resolve, { once: true });
    if (worker.state !== "installing") resolve();
  });
  return worker.state === "redundant" ? null : registration;
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
