/** What was recorded, to be taken home: sessions as ZIP, and the students' files as CSV. */
import { say } from "./say.js";
import { credentials } from "./token.js";
import { duration, moment, number, size, t, tame } from "./words.js";

/** How long nothing is typed before the server is asked. */
const TYPED_MS = 300;
/** Rows of a page, as the server cuts it. */
const PAGE = 50;

const at = (id) => document.getElementById(id);

export class RecordingsView {
  #askToken;
  #found = null;
  #fault = null;
  #pages = { sessions: 1, files: 1 };
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
    for (const list of ["sessions", "files"]) {
      for (const button of at(`${list}-pager`).querySelectorAll("button")) {
        button.addEventListener("click", () => this.#turn(list, button));
      }
    }
  }

  /** Ask for the first pages of what is looked for now. */
  search() {
    clearTimeout(this.#typed);
    this.#pages = { sessions: 1, files: 1 };
    return this.open();
  }

  /** Ask the gateway for the list, and show it. */
  async open() {
    const asked = ++this.#asked;
    at("recordings-state").textContent = t("loading");
    let found = null;
    let fault = null;
    try {
      const wanted = new URLSearchParams({
        q: at("recordings-query").value.trim(),
        page: this.#pages.sessions,
        files_page: this.#pages.files,
        utc_offset_min: -new Date().getTimezoneOffset(),
      });
      const answer = await fetch(`recordings?${wanted}`, { headers: credentials() });
      if (answer.ok) found = await answer.json();
      else if (answer.status === 401) this.#askToken();
      if (!answer.ok) fault = { 403: "recordings.watch", 404: "recordings.absent" }[answer.status] ?? "recordings.fault";
      if (answer.status === 401) fault = "token.title";
    } catch {
      fault = "link.down";
    }
    if (asked !== this.#asked) return; // a later question is on its way
    this.#fault = fault;
    if (found !== null) {
      this.#found = found;
      this.#pages = { sessions: found.page, files: found.files_page };
    }
    this.repaint();
  }

  async #turn(list, button) {
    if (button.getAttribute("aria-disabled") === "true") return;
    this.#pages[list] += Number(button.dataset.step);
    await this.open();
    if (this.#fault === null) say(at(`${list}-pager`).querySelector("span").textContent);
  }

  repaint() {
    const found = this.#fault === null ? this.#found : null;
    for (const id of ["sessions", "files"]) at(id).hidden = found === null;
    at("recordings-state").textContent = this.#fault === null ? "" : t(this.#fault);
    if (found === null) return;
    at("sessions").querySelector("tbody").replaceChildren(...found.sessions.map((session) => this.#session(session)));
    at("files").querySelector("tbody").replaceChildren(...found.files.map((file) => this.#file(file)));
    pager("sessions", found.page, found.pages, found.total);
    pager("files", found.files_page, found.files_pages, found.files_total);
    if (!found.sessions.length && !found.files.length) {
      const isSearch = at("recordings-query").value.trim() !== "";
      at("recordings-state").textContent = t(isSearch ? "recordings.nothing" : "recordings.none");
      if (isSearch) say(t("recordings.nothing"));
    }
    at("sessions").hidden = found.sessions.length === 0;
    at("files").hidden = found.files.length === 0;
  }

  #session(session) {
    const { folder, start, end, status, counts, bytes } = session;
    const took = start && end ? duration((Date.parse(end) - Date.parse(start)) / 1000) : null;
    const path = `recordings/sessions/${folder.split("/").map(encodeURIComponent).join("/")}.zip`;
    const who = tame(session.name ?? session.source ?? folder);
    return row([
      this.#button("ZIP", path, `${folder.replace("/", "_")}.zip`, `${t("download.zip")}: ${who}, ${start ? moment(start) : folder}`),
      start ? moment(start) : folder.split("/")[0],
      who,
      tame(session.code ?? session.group ?? ""),
      tame(session.class ?? ""),
      { number: took ?? (status && status !== "closed" ? t("sessions.open") : "--") },
      { number: Number.isInteger(counts?.readings) ? number(counts.readings) : "--" },
      { number: Number.isInteger(counts?.missing) ? number(counts.missing) : "--" },
      { number: size(bytes) },
    ]);
  }

  #file({ file, name, bytes, changed }) {
    const path = `recordings/files/${encodeURIComponent(file)}`;
    const who = tame(name ?? file.replace(/\.csv$/, ""));
    return row([
      this.#button("CSV", path, file, `${t("download.csv")}: ${who}`),
      who, tame(file), changed ? moment(changed) : "--", { number: size(bytes) },
    ]);
  }

  #button(words, path, name, label) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => this.#download(button, path, name));
    return button;
  }

  /** The token goes in a header: an address with it would stay in the browser's history. */
  async #download(button, path, name) {
    button.disabled = true;
    say(t("loading"));
    try {
      const answer = await fetch(path, { headers: credentials() });
      if (!answer.ok) {
        if (answer.status === 401) this.#askToken();
        throw new Error(answer.status === 503 ? "recordings.busy" : "recordings.fault");
      }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      say(t("download.done", { name }));
    } catch (fault) {
      const known = fault.message.startsWith("recordings.") ? fault.message : "link.down";
      at("recordings-state").textContent = t(known);
      say(t(known));
    } finally {
      button.disabled = false;
      button.focus();
    }
  }
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
      box.title = cell;
    }
  }
  return line;
}
