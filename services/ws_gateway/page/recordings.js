/** What was recorded, to be taken home: by lesson, by student, and the first server's files. */
import { say } from "./say.js";
import { credentials } from "./token.js";
import { duration, moment, number, size, t, tame } from "./words.js";

/** How long nothing is typed before the server is asked. */
const TYPED_MS = 300;
/** Rows of a page, as the server cuts it. */
const PAGE = 50;
const FORMATS = ["stored", "csv-ptbr", "xlsx", "report"];
/** What the recorder's program makes. */
const CONVERTED = ["xlsx", "report"];
const KEPT_FORMAT = "neuroone.format";
/** Why the server does not deliver something. */
const FAULTS = { 401: "token.title", 403: "recordings.watch", 404: "recordings.absent", 503: "recordings.busy" };

const at = (id) => document.getElementById(id);

/** The lists: what each asks for, and the key of its rows, of its page and of their numbers in the answer. */
const LISTS = {
  lessons: { asks: { by: "lesson" }, page: "page", pages: "pages", total: "total" },
  students: { asks: { by: "student" }, page: "page", pages: "pages", total: "total" },
  files: { asks: {}, page: "files_page", pages: "files_pages", total: "files_total" },
};

export class RecordingsView {
  #askToken;
  #by = "lessons";
  /** The lesson whose students are shown; null: those of all lessons. */
  #lesson = null;
  #found = null;
  #fault = null;
  #page = 1;
  #formats = FORMATS.slice(0, 2);
  #asked = 0;
  #typed = null;

  constructor(askToken) {
    this.#askToken = askToken;
    at("recordings-query").addEventListener("input", () => {
      clearTimeout(this.#typed);
      this.#typed = setTimeout(() => this.search(), TYPED_MS);
    });
    at("recordings-search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.search();
    });
    at("recordings-by").addEventListener("click", ({ target }) => target.dataset.by && this.#choose(target.dataset.by));
    at("all-lessons").addEventListener("click", () => this.#choose("lessons"));
    at("format").addEventListener("change", () => {
      localStorage.setItem(KEPT_FORMAT, at("format").value);
      this.repaint();
    });
    for (const list of Object.keys(LISTS)) {
      for (const button of at(`${list}-pager`).querySelectorAll("button")) {
        button.addEventListener("click", () => this.#turn(list, button));
      }
    }
  }

  /** Ask for the first page of what is looked for now. */
  search() {
    clearTimeout(this.#typed);
    this.#page = 1;
    return this.open();
  }

  /** Ask the gateway for the list, and show it. */
  async open() {
    const asked = ++this.#asked;
    const list = LISTS[this.#by];
    at("recordings-state").textContent = t("loading");
    let found = null;
    let fault = null;
    try {
      const wanted = new URLSearchParams({
        ...list.asks, q: at("recordings-query").value.trim(), [list.page]: this.#page, utc_offset_min: offset_min(),
      });
      if (this.#lesson !== null) wanted.set("lesson", this.#lesson.key);
      const answer = await fetch(`recordings?${wanted}`, { headers: credentials() });
      if (answer.ok) found = await answer.json();
      else if (answer.status === 401) this.#askToken();
      if (!answer.ok) fault = FAULTS[answer.status] ?? "recordings.fault";
    } catch {
      fault = "link.down";
    }
    if (asked !== this.#asked) return; // a later question is on its way
    this.#fault = fault;
    this.#found = found;
    if (found !== null) {
      this.#page = found[list.page];
      this.#formats = found.formats ?? this.#formats;
      at("formats-missing").hidden = found.formats === undefined || FORMATS.every((each) => found.formats.includes(each));
    }
    this.repaint();
  }

  repaint() {
    this.#showFormats();
    for (const button of at("recordings-by").children) {
      if (button.dataset.by === this.#by) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    const found = this.#fault === null ? this.#found : null;
    const rows = found?.[this.#by] ?? [];
    for (const id of Object.keys(LISTS)) at(id).hidden = id !== this.#by || rows.length === 0;
    at("recordings-state").textContent = this.#fault === null ? "" : t(this.#fault);
    if (found === null) return;
    const makeRow = { lessons: (each) => this.#lessonRow(each), students: (each) => this.#student(each), files: (each) => this.#file(each) };
    at(this.#by).querySelector("tbody").replaceChildren(...rows.map(makeRow[this.#by]));
    const list = LISTS[this.#by];
    pager(this.#by, found[list.page], found[list.pages], found[list.total]);
    at("all-lessons").parentElement.hidden = this.#lesson === null;
    at("students-title").textContent = this.#lesson === null ? t("students") : t("lessons.students", { lesson: titleOf(this.#lesson) });
    if (rows.length) return;
    const isSearch = at("recordings-query").value.trim() !== "";
    at("recordings-state").textContent = t(isSearch ? "recordings.nothing" : "recordings.none");
    if (isSearch) say(t("recordings.nothing"));
  }

  #choose(by, lesson = null) {
    this.#by = by;
    this.#lesson = lesson;
    this.#found = null;
    return this.search();
  }

  async #turn(list, button) {
    if (button.getAttribute("aria-disabled") === "true") return;
    this.#page += Number(button.dataset.step);
    await this.open();
    if (this.#fault === null) say(at(`${list}-pager`).querySelector("span").textContent);
  }

  /** The formats of this server; in Portuguese the first choice is what a spreadsheet program there opens. */
  #showFormats() {
    const first = document.documentElement.lang === "pt-BR" ? "csv-ptbr" : "stored";
    const kept = localStorage.getItem(KEPT_FORMAT) ?? first;
    const formats = FORMATS.filter((each) => this.#formats.includes(each));
    at("format").replaceChildren(...formats.map((each) => new Option(t(`format.${each}`), each)));
    at("format").value = formats.includes(kept) ? kept : first;
  }

  #lessonRow(lesson) {
    const { key, start, began, ended, students } = lesson;
    const took = began && ended ? duration((Date.parse(ended) - Date.parse(began)) / 1000) : "--";
    const title = titleOf(lesson);
    const who = document.createElement("button");
    who.type = "button";
    who.textContent = t("lessons.open");
    who.setAttribute("aria-label", `${t("lessons.open")}: ${title}, ${moment(start)}`);
    who.addEventListener("click", async () => {
      await this.#choose("students", lesson);
      at("all-lessons").focus();
    });
    return row([
      this.#button(this.#addressOf(key), `${t("download.all")}: ${title}, ${moment(start)}`, t("download.all")),
      moment(start), title, { number: number(students) }, { number: took }, who,
    ]);
  }

  #student({ lesson, key, name, apart, start, end, is_open, counts, bytes }) {
    const took = start && end ? duration((Date.parse(end) - Date.parse(start)) / 1000) : is_open ? t("sessions.open") : "--";
    const who = [tame(name), tame(apart, 12)].filter((each) => each).join(" · ");
    const count = (value) => ({ number: Number.isInteger(value) ? number(value) : "--" });
    return row([
      this.#button(this.#addressOf(lesson.key, key), `${t("download")}: ${who}, ${titleOf(lesson)}, ${start ? moment(start) : ""}`),
      who, titleOf(lesson), start ? moment(start) : "--", { number: took }, count(counts.readings), count(counts.missing), { number: size(bytes) },
    ]);
  }

  #file({ file, name, bytes, changed }) {
    const who = tame(name ?? file.replace(/\.csv$/, ""));
    const path = `recordings/files/${encodeURIComponent(file)}${at("format").value === "csv-ptbr" ? "?format=csv-ptbr" : ""}`;
    return row([
      this.#button(path, `${t("download.csv")}: ${who}`, "CSV"),
      who, tame(file), changed ? moment(changed) : "--", { number: size(bytes) },
    ]);
  }

  #addressOf(lesson, student) {
    const wanted = new URLSearchParams({
      format: at("format").value, utc_offset_min: offset_min(), language: document.documentElement.lang,
      tz: Intl.DateTimeFormat().resolvedOptions().timeZone?.replace("Etc/Unknown", "UTC") ?? "UTC",
    });
    if (student !== undefined) wanted.set("student", student);
    return `recordings/lessons/${lesson}?${wanted}`;
  }

  #button(path, label, words = t("download")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => this.#download(button, path));
    return button;
  }

  /** The token goes in a header: an address with it would stay in the browser's history. */
  async #download(button, path) {
    button.disabled = true;
    at("recordings-state").textContent = t("loading");
    let state = "";
    try {
      const answer = await fetch(path, { headers: credentials() });
      if (answer.status === 401) this.#askToken();
      if (!answer.ok) throw new Error(FAULTS[answer.status] ?? (CONVERTED.includes(at("format").value) ? "recordings.not_made" : "recordings.fault"));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = decodeURIComponent(/filename\*=UTF-8''(\S+)/.exec(answer.headers.get("Content-Disposition"))?.[1] ?? "");
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      state = t("download.done", { name: tame(link.download) });
    } catch (fault) {
      state = t(fault.message.startsWith("recordings.") || fault.message === "token.title" ? fault.message : "link.down");
    } finally {
      at("recordings-state").textContent = state;
      button.disabled = false;
      button.focus();
    }
  }
}

/** The lesson's name; a name is missing where nobody gave one, and where no lesson was running. */
function titleOf({ name, began }) {
  return name ? tame(name) : t(began === null ? "lessons.outside" : "lesson.unnamed");
}

function offset_min() {
  return -new Date().getTimezoneOffset();
}

/** Show which rows of how many are there, and whether there are others. A button that does nothing keeps the focus. */
function pager(list, page, pages, total) {
  const box = at(`${list}-pager`);
  const first = (page - 1) * PAGE + 1;
  const numbers = [first, Math.min(total, first + PAGE - 1), total].map((each) => number(each));
  box.hidden = pages < 2;
  box.querySelector("span").textContent = t("pager.shown", { first: numbers[0], last: numbers[1], total: numbers[2] });
  for (const button of box.querySelectorAll("button")) {
    const to = page + Number(button.dataset.step);
    button.setAttribute("aria-disabled", String(to < 1 || to > pages));
  }
}

function row(cells) {
  const line = document.createElement("tr");
  for (const cell of cells) {
    const box = line.insertCell();
    if (cell instanceof Node) box.append(cell);
    else if (typeof cell === "object") {
      box.className = "number";
      box.textContent = cell.number;
    } else {
      const text = document.createElement("bdi");
      text.textContent = cell;
      box.append(text);
    }
  }
  return line;
}
