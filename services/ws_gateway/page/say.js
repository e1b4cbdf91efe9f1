/** What is said to a screen reader, politely and in one place, and shown for a moment where it answers an act. */

const SHOWN_MS = 4000;
let hiding = null;

/** Say something without showing it. */
export function say(words) {
  document.getElementById("said").textContent = words;
}

/** Say and show something. */
export function toast(words) {
  say(words);
  const box = document.getElementById("toast");
  box.textContent = words;
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (box.hidden = true), SHOWN_MS);
}
