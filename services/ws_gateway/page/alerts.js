/** The alerts: a number in the header, and a list behind it, by what is wrong. */
import { doubtOf, fullLabelOf, write } from "./badges.js";
import { t } from "./words.js";

const SHOWN_MAX = 50;

const at = (id) => document.getElementById(id);

/** The trouble that a teacher has not seen to, each with whether it was acknowledged. */
export class Alerts {
  #alerts = new Map();

  /** Check everybody; returns the alerts that are new. */
  check(students, now_s, watching_since_s) {
    const fresh = [];
    const present = new Set();
    for (const student of students) {
      const kind = student.trouble(now_s, watching_since_s);
      if (kind === null) continue;
      const key = `${kind} ${student.key}`;
      present.add(key);
      if (!this.#alerts.has(key)) {
        const alert = { key, kind, student, isSeen: false };
        this.#alerts.set(key, alert);
        fresh.push(alert);
      }
    }
    for (const key of this.#alerts.keys()) if (!present.has(key)) this.#alerts.delete(key);
    return fresh;
  }

  /** Those that nobody has acknowledged. */
  get open() {
    return [...this.#alerts.values()].filter((alert) => !alert.isSeen);
  }

  acknowledge(keys) {
    for (const key of keys) this.#alerts.get(key).isSeen = true;
  }
}

/** Who it is about and what is wrong. */
export function wordsOf({ student, kind }) {
  return `${fullLabelOf(student)}: ${kindOf(kind)}`;
}

function kindOf(kind) {
  return kind === "offline" ? t("alarm.offline") : doubtOf(kind).word;
}

/** The drawer with the alerts; `acknowledge` is called with the keys of those that were seen. */
export class AlertsDrawer {
  #shown = "";
  #open = [];

  constructor(acknowledge) {
    at("alarms").addEventListener("click", ({ target }) => {
      if (target.dataset.alarm !== undefined) acknowledge([target.dataset.alarm]);
      else if (target.id === "acknowledge-all") acknowledge(this.#open.map(({ key }) => key));
    });
  }

  show(open) {
    this.#open = open;
    const key = `${document.documentElement.lang} ${open.map((alert) => `${alert.key} ${alert.student.apart}`).join("\n")}`;
    if (this.#shown === key) return;
    this.#shown = key;
    const drawer = at("alarms");
    const hadFocus = drawer.contains(document.activeElement);
    drawer.hidden = open.length === 0;
    if (drawer.hidden) drawer.open = false;
    write(at("alarms-count"), String(open.length));
    write(at("alarms-what"), t("alarms", { n: open.length }));
    const kinds = byKind(open);
    at("alarms-list").replaceChildren(...[...kinds].flatMap(([kind, alerts]) => listOf(kind, alerts.slice(0, SHOWN_MAX))));
    const more = [...kinds.values()].reduce((sum, { length }) => sum + Math.max(0, length - SHOWN_MAX), 0);
    at("more-alarms").hidden = more === 0;
    write(at("more-alarms"), t("alarms.more", { n: more }));
    if (hadFocus && !drawer.contains(document.activeElement)) {
      (drawer.hidden ? at("cards") : (at("alarms-list").querySelector("button") ?? at("acknowledge-all"))).focus();
    }
  }
}

function byKind(alerts) {
  const kinds = new Map();
  for (const alert of alerts) kinds.set(alert.kind, [...(kinds.get(alert.kind) ?? []), alert]);
  return kinds;
}

function listOf(kind, alerts) {
  const title = document.createElement("h3");
  title.textContent = `${kindOf(kind)} (${alerts.length})`;
  const list = document.createElement("ul");
  list.append(...alerts.map((alert) => {
    const item = document.createElement("li");
    const who = document.createElement("bdi");
    who.textContent = fullLabelOf(alert.student);
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.alarm = alert.key;
    button.textContent = t("alarms.seen");
    button.setAttribute("aria-label", `${t("alarms.seen")}: ${wordsOf(alert)}`);
    const text = document.createElement("span");
    text.append(who);
    item.append(text, button);
    return item;
  }));
  return [title, list];
}
