/** Theme and language: chosen in the page, kept in this browser. */
import { LANGUAGES, speak, t, wantedLanguage } from "./words.js";

const THEMES = ["system", "light", "dark"];
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Fill the two choosers, apply what was chosen before; `changed` is called after every later change. */
export async function dress(changed) {
  const language = document.getElementById("language");
  for (const [code, name] of Object.entries(LANGUAGES)) language.add(new Option(name, code));
  language.value = wantedLanguage();
  const theme = document.getElementById("theme");
  const kept = localStorage.getItem("neuroone.theme");
  let chosen = THEMES.includes(kept) ? kept : "system";
  const nameThemes = () => {
    theme.replaceChildren(...THEMES.map((each) => new Option(t(`theme.${each}`), each)));
    theme.value = chosen;
  };
  const paint = () => {
    const isDark = chosen === "dark" || (chosen === "system" && dark.matches);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
  };
  language.addEventListener("change", async () => {
    localStorage.setItem("neuroone.language", language.value);
    await speak(language.value);
    nameThemes();
    changed();
  });
  theme.addEventListener("change", () => {
    chosen = theme.value;
    localStorage.setItem("neuroone.theme", chosen);
    paint();
    changed();
  });
  dark.addEventListener("change", () => {
    paint();
    changed();
  });
  paint();
  await speak(language.value);
  nameThemes();
}

/** A colour of the theme, for what is drawn on a canvas. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
