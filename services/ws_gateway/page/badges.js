/** How a student, or one of its values, is written: in the list and on the student's own page alike. */
import { zoneOf } from "./classroom.js";
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

/** Who this is. With `hidden`, in front of the class, only the seat or a number. */
export function labelOf(student, hidden) {
  if (hidden) return student.seat ? t("label.seat", { seat: tame(student.seat) }) : t("label.number", { n: student.id ?? "?" });
  return student.name === null ? t("label.nameless", { n: student.id ?? tame(student.source) }) : tame(student.name);
}

/** The shape and the words for how a headset sits, or that nothing is heard of it. */
export function badgeOf(student, now_s) {
  const presence = student.presence(now_s);
  if (student.reading === null || presence === "offline") return { shape: "offline", words: t(`presence.${presence}`) };
  return { shape: student.contact, words: t(`contact.${student.contact}`) };
}

export function showBadge(element, { shape, words }) {
  mark(element, "data-shape", shape);
  write(element.lastElementChild, words);
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

/** The zone of an eSense; while the contact is poor the headset repeats an old value, and that is said instead. */
export function zone(student, value) {
  return value && isHeld(student) ? t("zone.held") : t(`zone.${zoneOf(value)}`);
}

/** Whether the headset repeats its last eSense. */
export function isHeld(student) {
  return (student.reading?.poor_signal ?? 0) > 0;
}
