/** The bars above the cards: the session, the recorder, who is there, and the mean of the class. */
import { write } from "./badges.js";
import { classMean, zoneOf } from "./classroom.js";
import { duration, number, t, tame } from "./words.js";

/** The recorder marks what it has at least once a second while readings come. */
const MARKS_WITHIN_S = 10;

const at = (id) => document.getElementById(id);

export class Bar {
  #room;
  #groups = "";
  /** In front of the class: no numbers of the class either. */
  hidden = false;

  constructor(room) {
    this.#room = room;
  }

  /** Show the sums of these students; returns `{ connected, good }`. */
  show(students, { now_s, link, group, with_unknown }) {
    const present = students.filter((student) => student.presence(now_s) !== "offline");
    const good = present.filter((student) => student.contact === "good").length;
    write(at("connected"), `${present.length} / ${students.length}`);
    write(at("good"), `${good} / ${present.length}`);
    this.#session(group);
    this.#recorder(present, link, now_s);
    for (const what of ["attention", "meditation"]) this.#mean(what, present, with_unknown, now_s);
    return { connected: present.length, good };
  }

  /** The classes to choose from. */
  showGroups(chosen) {
    const groups = [...this.#room.groups()].sort(([one], [other]) => one.localeCompare(other));
    const key = JSON.stringify([document.documentElement.lang, groups]);
    if (key === this.#groups) return;
    this.#groups = key;
    const options = groups.map(([group, code]) => new Option(code === null ? t("group.none") : tame(code, 30), group));
    at("group").replaceChildren(new Option(t("group.all"), ""), ...options);
    at("group").value = chosen;
  }

  /** The codes of the class that is shown, or of all of them. */
  codes(chosen) {
    const groups = this.#room.groups();
    if (chosen) return [groups.get(chosen) ?? null];
    return groups.size ? [...groups.values()] : [null];
  }

  repaint() {
    this.#groups = "";
  }

  #session(chosen) {
    const running = [...this.#room.sessions].filter(([group]) => !chosen || group === chosen);
    at("start").hidden = running.length > 0;
    at("stop").hidden = running.length === 0;
    const names = [...new Set(running.map(([, { name }]) => tame(name) || t("session.unnamed")))];
    write(at("session"), names.join(", ") || t("session.none"));
    const since = Math.min(...running.map(([, session]) => session.since));
    write(at("elapsed"), running.length ? duration((Date.now() - since) / 1000) : "--");
  }

  #recorder(present, link, now_s) {
    const marked = now_s - this.#room.recorded_s < MARKS_WITHIN_S;
    let [shape, words] = ["unknown", t("rec.ready")];
    if (!link.up) words = t("rec.unknown");
    else if (!link.recorder) [shape, words] = ["off", t("rec.absent")];
    else if (marked && present.length) {
      const rows = present.reduce((sum, student) => sum + (student.rows ?? 0), 0);
      [shape, words] = ["rec", t("rec.on", { n: number(rows) })];
    } else if (present.length) [shape, words] = ["adjusting", t("rec.unconfirmed")];
    at("rec").dataset.shape = shape;
    write(at("rec").lastElementChild, words);
  }

  #mean(what, present, with_unknown, now_s) {
    const { mean, spread, count } = classMean(present, what, with_unknown, now_s);
    const rest = present.length - count;
    const values = { n: count, all: present.length, rest, spread: spread === null ? "--" : number(spread) };
    const words = this.hidden ? t("mean.hidden") : t("mean.of", values);
    write(at(`mean-${what}`), this.hidden ? "" : mean === null ? "--" : number(mean));
    write(at(`mean-${what}-of`), mean === null || this.hidden ? words : `${t(`zone.${zoneOf(Math.round(mean))}`)} · ${words}`);
    const share = this.hidden || mean === null ? 0 : mean;
    at(`mean-${what}`).parentElement.querySelector(".meter > i").style.width = `${share}%`;
  }
}
