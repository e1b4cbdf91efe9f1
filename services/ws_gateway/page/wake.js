/** Keep the screen on: a phone that sleeps closes its Bluetooth link and stops the page. */

let isWanted = false;
let lock = null;

/** Keep the screen on from now on; return whether the browser does. It gives the lock up while the page is hidden. */
export async function keepAwake() {
  isWanted = true;
  try {
    lock ??= await navigator.wakeLock.request("screen");
    lock.addEventListener("release", () => (lock = null), { once: true });
    if (!isWanted) letSleep();
    return true;
  } catch {
    return false; // the browser has no such lock, or the battery is low
  }
}

/** Let the screen go off again. */
export function letSleep() {
  isWanted = false;
  lock?.release().catch(() => {});
  lock = null;
}

document.addEventListener("visibilitychange", () => {
  if (isWanted && document.visibilityState === "visible") keepAwake();
});
