/** The words of the page, in the language of the moment: a JSON file each. */

export const LANGUAGES = { "pt-BR": "Português", en: "English" };

let words = {};
let plurals = new Intl.PluralRules("en");

/** The language that the browser asks for, of those that we have. */
export function wantedLanguage() {
  const kept = localStorage.getItem("neuroone.language");
  if (kept in LANGUAGES) return kept;
  return navigator.language.toLowerCase().startsWith("pt") ? "pt-BR" : "en";
}

/** Use a language from now on, and put its words into the document. */
export async function speak(language) {
  const answer = await fetch(`page/${language}.json`);
  words = await answer.json();
  plurals = new Intl.PluralRules(language);
  document.documentElement.lang = language;
  document.title = t(document.body.dataset.title);
  translate(document);
}

/** A text; `{n}` and the like are filled in. With a count `n` there may be a form for one. */
export function t(key, values = {}) {
  const text = (plurals.select(values.n) === "one" && words[`${key}.one`]) || words[key] || key;
  return text.replace(/\{(\w+)\}/g, (hole, name) => values[name] ?? hole);
}

/** A whole number or a number with one digit, as the language writes it. */
export function number(value, digits = 0) {
  return value.toLocaleString(document.documentElement.lang, { maximumFractionDigits: digits });
}

/** A moment of the day. */
export function clock(time) {
  return new Date(time).toLocaleTimeString(document.documentElement.lang);
}

/** A day and a time. */
export function moment(time) {
  return new Date(time).toLocaleString(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" });
}

/** Minutes and seconds, and hours where there are any. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, "0"));
  return whole >= 3600 ? [Math.floor(whole / 3600), ...parts].join(":") : parts.join(":");
}

/** A size in bytes. */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${number(bytes / 1024)} kB` : `${number(bytes / 1024 / 1024, 1)} MB`;
}

/** Put the words into every element below `root` that says which it wants. */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.dataset.tLabel));
  }
  for (const element of root.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = t(element.dataset.tPlaceholder);
  }
}

/** What somebody typed, fit to be shown: no control characters, no marks that turn other text round, and cut. */
export function tame(text, most = 60) {
  const clean = text.slice(0, 4 * most).replace(/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, " ").trim();
  const characters = [...clean];
  return characters.length > most ? `${characters.slice(0, most).join("")}…` : clean;
}
