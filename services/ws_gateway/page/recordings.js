/** What was recorded, to be taken home: sessions as ZIP, and the students' files as CSV. */
import { say } from "./say.js";
import { credentials } from "./token.js";
import { duration, moment, number, size, t, tame } from "./words.js";

const at = (id) => document.getElementById(id);

export class RecordingsView {
  #askToken;
  #found = null;
  #fault = null;

  constructor(askToken) {
    this.#askToken = askToken;
  }

  /** Ask the gateway for the list, and show it. */
  async open() {
    at("recordings-state").textContent = t("loading");
    this.#fault = null;
    try {
      const answer = await fetch("recordings", { headers: credentials() });
      if (answer.ok) this.#found = await answer.json();
      else if (answer.status === 401) this.#askToken();
      if (!answer.ok) this.#fault = answer.status === 404 ? "recordings.absent" : "recordings.fault";
      if (answer.status === 401) this.#fault = "token.title";
    } catch {
      this.#fault = "link.down";
    }
    this.repaint();
  }

  repaint() {
    const found = this.#fault === null ? this.#found : null;
    for (const id of ["sessions", "files"]) at(id).hidden = found === null;
    at("recordings-state").textContent = this.#fault === null ? "" : t(this.#fault);
    if (found === null) return;
    at("sessions").querySelector("tbody").replaceChildren(...found.sessions.map((session) => this.#session(session)));
    at("files").querySelector("tbody").replaceChildren(...found.files.map((file) => this.#file(file)));
    at("older").textContent = found.older ? t("sessions.older", { n: found.older }) : "";
    if (!found.sessions.length && !found.files.length) at("recordings-state").textContent = t("recordings.none");
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
      { number: took ?? (status === "open" ? t("sessions.open") : "--") },
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
      who, tame(file), moment(changed), { number: size(bytes) },
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
        throw new Error(answer.status === 413 ? "recordings.large" : "recordings.fault");
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
