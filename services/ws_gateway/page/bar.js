/** The line above the tiles and the lesson in the header: who is there, the recorder, and the figures of the class. */
import { write } from "./badges.js";
import { classMean, VALID_MIN, zoneOf } from "./classroom.js";
import { duration, number, t, tame } from "./words.js";

/** The recorder marks what it has at least once a second while readings come. */
const MARKS_WITHIN_S = 10;
/** Where the choice is kept: a school may have several servers behind one name. */
const COUNTED = `neuroone.with_unknown ${new URL(".", location.href).pathname}`;

const at = (id) => document.getElementById(id);

export class Bar {
  #room;
  #only;
  #groups = "";

  /** `only` is the code of the one class that this page was opened for. */
  constructor(room, only) {
    this.#room = room;
    this.#only = only;
    at("with-unknown").addEventListener("change", ({ target }) => localStorage.setItem(COUNTED, target.checked ? "on" : "off"));
  }

  /** Whether those who send no signal quality count: as it was chosen, or where nobody or too few for a figure send any. */
  withUnknown(present) {
    const chosen = localStorage.getItem(COUNTED);
    const known = present.filter(({ contact }) => contact !== "unknown").length;
    const counts = chosen === null ? known < VALID_MIN : chosen === "on";
    at("with-unknown").checked = counts;
    return counts;
  }

  /** Show and return the sums of these students. */
  show(students, { now_s, link, group }) {
    const present = students.filter((student) => student.presence(now_s) !== "offline");
    const with_unknown = this.withUnknown(present);
    const good = present.filter((student) => student.hasContact(with_unknown)).length;
    const isGuess = with_unknown && present.some(({ contact }) => contact === "unknown");
    const sums = { connected: present.length, good, isGuess, elapsed: this.#lesson(group) };
    write(at("connected"), `${present.length} / ${students.length}`);
    write(at("connected-what"), t("bar.connected", { n: students.length }));
    write(at("good"), `${good} / ${present.length}`);
    write(at("good-what"), t(isGuess ? "bar.valid" : "bar.good", { n: present.length }));
    this.#recorder(present, link, now_s);
    for (const what of ["attention", "meditation"]) sums[what] = this.#mean(what, present, with_unknown, now_s);
    return sums;
  }

  /** The classes to choose from; a code that one student alone has is rather that student's than a class's. */
  showGroups(chosen) {
    const groups = [...this.#room.groups()].sort(([one], [other]) => one.localeCompare(other));
    const key = JSON.stringify([document.documentElement.lang, groups.map(([group, { code, count }]) => [group, code, count > 1])]);
    if (key === this.#groups) return chosen;
    this.#groups = key;
    const optionOf = ([group, { code }]) => new Option(code === null ? t("group.none") : tame(code, 30), group);
    if (this.#only !== undefined) {
      const its = groups[0]?.[0] ?? ""; // unknown until somebody is there
      at("group").replaceChildren(new Option(t("group.all"), "*"), new Option(tame(this.#only, 30), its));
      at("group").value = its;
      return its;
    }
    const alone = document.createElement("optgroup");
    alone.label = t("group.alone");
    alone.append(...groups.filter(([, { count }]) => count === 1).map(optionOf));
    at("group").replaceChildren(new Option(t("group.all"), ""), ...groups.filter(([, { count }]) => count !== 1).map(optionOf));
    if (alone.children.length) at("group").append(alone);
    at("group").value = chosen;
    return chosen;
  }

  /** Say on the closed filters what they leave. */
  showFilters({ group, search, show }) {
    const which = [group ? at("group").selectedOptions[0]?.textContent : "", search, show === "all" ? "" : t(`show.${show}`)];
    write(at("filtered"), which.filter(Boolean).map((each) => tame(each, 16)).join(" · ") || t("filters"));
  }

  repaint() {
    this.#groups = "";
  }

  /** Show the lesson that runs; returns for how long. */
  #lesson(chosen) {
    const running = [...this.#room.lessonsOf(chosen).values()];
    at("rec").parentElement.toggleAttribute("data-runs", running.length > 0);
    at("start").hidden = running.length > 0;
    at("stop").hidden = running.length === 0;
    const names = [...new Set(running.map(({ name }) => tame(name ?? "", 200) || t("lesson.unnamed")))];
    write(at("session"), names.join(", ") || t("lesson.none"));
    const since = Math.min(...running.map((lesson) => lesson.since));
    const elapsed = running.length ? duration((Date.now() - since) / 1000) : "";
    write(at("elapsed"), elapsed);
    return elapsed;
  }

  #recorder(present, link, now_s) {
    const marked = now_s - this.#room.recorded_s < MARKS_WITHIN_S;
    let [shape, words, title] = ["unknown", t("rec.ready"), null];
    if (!link.up) words = t("rec.unknown");
    else if (link.missing.length) [shape, words] = ["poor", t("rec.missing", { which: link.missing.join(", ") })];
    else if (!link.recorder) [shape, words] = ["poor", t("rec.absent")];
    else if (marked && present.length) {
      const rows = present.reduce((sum, student) => sum + (student.rows ?? 0), 0);
      [shape, words, title] = ["rec", t("rec.on"), t("rec.rows", { n: number(rows) })];
    } else if (present.length) [shape, words] = ["adjusting", t("rec.unconfirmed")];
    at("rec").dataset.shape = shape;
    at("rec").title = title ?? "";
    write(at("rec").lastElementChild, words);
  }

  #mean(what, present, with_unknown, now_s) {
    const { mean, spread, count } = classMean(present, what, with_unknown, now_s);
    const values = { n: count, all: present.length, min: VALID_MIN, spread: spread === null ? "--" : number(spread) };
    write(at(`mean-${what}`), mean === null ? "--" : number(mean));
    const words = mean === null ? t("mean.few", values) : `${number(mean)}, ${t(`zone.${zoneOf(Math.round(mean))}`)}: ${t("mean.of", values)}`;
    const unknown = with_unknown ? 0 : present.filter(({ contact }) => contact === "unknown").length;
    write(at(`mean-${what}-of`), unknown ? `${words}. ${t("mean.uncounted", { n: unknown })}` : words);
    return mean;
  }
}
