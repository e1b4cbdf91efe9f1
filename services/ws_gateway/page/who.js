/** Who uses the student's page: what the address says, and what this device remembers of each student. */
import { ofSchool } from "./folder.js";

const KEPT = ofSchool("neuroone.students");
/** Students that a device remembers: those of a shared tablet in two classes. */
const KEPT_MAX = 60;
/** As the gateway's: longer texts are nobody's. */
const MOST_CHARS = { name: 200, code: 200, key: 256 };

/**
 * Return name, code and key of the address, and take the key out of it at once: the address bar, history and pictures of
 * the screen do not show it. Behind `#` the browser sends it to nobody; `?key=` works too.
 */
export function takeWho() {
  const address = new URL(location.href);
  const behind = new URLSearchParams(address.hash.slice(1));
  const { searchParams } = address;
  const given = { name: searchParams.get("name"), code: searchParams.get("code"), key: behind.get("key") ?? searchParams.get("key") };
  if (behind.has("key")) {
    behind.delete("key");
    address.hash = behind.size > 0 ? `${behind}` : "";
  }
  searchParams.delete("key");
  if (given.key !== null) history.replaceState(history.state, "", address);
  return whoOf(given);
}

/** Take the student out of the address: it is somebody else's turn. */
export function leaveAddress() {
  history.replaceState(history.state, "", location.pathname);
}

/** Return the students that this device remembers, the latest first. */
export function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(kept) ? kept.slice(0, KEPT_MAX).map(whoOf).filter(({ name }) => name !== "") : [];
  } catch {
    return []; // no storage, or not what this page wrote
  }
}

/** Remember a student as the latest one. */
export function remember(who) {
  const others = remembered().filter(({ name, code }) => name !== who.name || code !== who.code);
  try {
    localStorage.setItem(KEPT, JSON.stringify([who, ...others].slice(0, KEPT_MAX)));
  } catch {
    // the page works without
  }
}

/** Forget all students of this device. Readings that still wait stay. */
export function forget() {
  localStorage.removeItem(KEPT);
}

/** Return the address of the gateway for a student with this key. */
export function addressFor(gateway, key) {
  return key ? new URL(`ws/${encodeURIComponent(key)}`, gateway).href : gateway;
}

/** Return a student with nothing but short texts. */
export function whoOf(given) {
  const text = (field) => (typeof given?.[field] === "string" ? given[field].trim().slice(0, MOST_CHARS[field]) : "");
  return { name: text("name"), code: text("code"), key: text("key") };
}
