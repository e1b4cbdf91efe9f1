/**
 * Load the page again if a part of it did not come: the network may change, or the gateway start anew, in this moment.
 * Without it such a page shows nothing, and never will. The server writes this script into the pages, before all that
 * they load: as a file it would be lost with the others.
 */
const WAITS_MS = [1000, 2000, 5000, 10_000, 30_000];
const KEY = "neuroone loads";

addEventListener(
  "error",
  ({ target }) => {
    if (!(target instanceof HTMLScriptElement || target instanceof HTMLLinkElement)) return; // an error in a script
    const tries = Number(sessionStorage.getItem(KEY)) || 0;
    setTimeout(() => location.reload(), WAITS_MS[Math.min(tries, WAITS_MS.length - 1)]);
    sessionStorage.setItem(KEY, String(tries + 1));
  },
  { capture: true }, // faults of loading do not bubble
);
addEventListener("load", () => setTimeout(() => sessionStorage.removeItem(KEY), WAITS_MS.at(-1)));
