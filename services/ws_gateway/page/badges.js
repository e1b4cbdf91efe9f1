/** How a student, or one of its values, is written: on the tiles, in the alerts and on the student's own page alike. */
import { zoneOf } from "./classroom.js";
import { wordsOf } from "./doubt.js";
import { t, tame } from "./words.js";

/** Set a text, if it is another one: a document that does not change costs nothing. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute, if it is another one; null takes it away. */
export function mark(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** Who this is. */
export function labelOf(student) {
  return student.name === null ? t("label.nameless", { n: student.id ?? tame(student.source) }) : tame(student.name);
}

/** The seat, what tells a student apart from others of the same name, and that it is simulated; empty where none is needed. */
export function codeOf(student) {
  return [tame(student.seat), tame(student.apart, 12), student.isSimulated ? t("simulated") : ""].filter((each) => each).join(" · ");
}

/** The name with what tells it apart. */
export function fullLabelOf(student) {
  return student.apart ? `${labelOf(student)} (${tame(student.apart, 12)})` : labelOf(student);
}

/** The shape and the words for how a headset sits, or that nothing is heard of it. */
export function badgeOf(student, now_s) {
  const presence = student.presence(now_s);
  if (student.reading === null || presence === "offline") return { shape: "offline", words: t(`presence.${presence}`) };
  if (presence === "stale") return { shape: "stale", words: t("presence.stale") };
  if (student.isDoubtful && !isLoose(student)) return { shape: "doubt", words: doubtOf(student.doubt).word };
  return { shape: student.contact, words: t(`contact.${student.contact}`) };
}

export function showBadge(element, { shape, words }) {
  mark(element, "data-shape", shape);
  write(element.lastElementChild, words);
}

/** What is wrong with this student's values at this moment, in a few words; empty where nothing is. */
export function troubleOf(student, now_s) {
  const presence = student.presence(now_s);
  if (presence !== "online") return `${t(`presence.${presence}`)}, ${ageOf(student, now_s)}`;
  if (isLoose(student)) return t(`contact.${student.contact}`);
  return student.isDoubtful ? doubtOf(student.doubt).word : "";
}

/** The `word` for a doubt, and the `sentence` that says why and what to do. */
export function doubtOf(doubt) {
  return wordsOf(doubt, document.documentElement.lang);
}

/** Whether the headset says that it does not sit well. */
function isLoose({ contact }) {
  return contact !== "good" && contact !== "unknown";
}

/** How old the last value is. */
export function ageOf(student, now_s) {
  const age_s = Math.floor(now_s - student.heard_s);
  if (!Number.isFinite(age_s)) return "";
  if (age_s < 3) return t("age.now");
  return age_s < 60 ? t("age.seconds", { n: age_s }) : t("age.minutes", { n: Math.floor(age_s / 60) });
}

/** The number of an eSense, or dashes where it was not computed. */
export function esense(value) {
  return value ? String(value) : "--";
}

/** The zone of an eSense, or why it means nothing. */
export function zone(student, value) {
  return value && student.isDoubtful ? doubtOf(student.doubt).word : t(`zone.${zoneOf(value)}`);
}
