/** Inviting students: the student page's address as a QR code, for a class or for one student, on the wall or on paper. */
import { write } from "./badges.js";
import { credentials } from "./token.js";
import { t, tame } from "./words.js";

/** How long nothing is typed before the server is asked. */
const TYPED_MS = 300;
/** Names on one sheet: a class with room to spare, and three seconds of the server's work. */
const NAMES_MAX = 60;
const SVG = "http://www.w3.org/2000/svg";
/** Why the server makes no invitation. */
const FAULTS = { 400: "invite.cut", 401: "token.title", 403: "invite.watch" };

const at = (id) => document.getElementById(id);

export class Invite {
  #room;
  #askToken;
  #asked = 0;
  #typed = null;
  /** The invitation that is shown; null while there is none. */
  #shown = null;
  /** Whether the code leads to what a phone must trust before it opens the student page for the first time. */
  #isFirst = false;

  constructor(room, askToken) {
    this.#room = room;
    this.#askToken = askToken;
    const form = at("invite-form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#draw();
    });
    form.addEventListener("input", () => {
      this.#asked += 1; // an answer that is under way is not about this text
      this.#show(null);
      clearTimeout(this.#typed);
      this.#typed = setTimeout(() => this.#draw(), TYPED_MS);
    });
    at("invite-first").addEventListener("click", () => {
      this.#isFirst = !this.#isFirst;
      this.#draw();
    });
    at("invite-copy").addEventListener("click", () => copy(at("invite-url")));
    at("invite-print").addEventListener("click", () => this.#shown && printed([this.#shown]));
    at("invite-sheet").addEventListener("click", () => this.#printSheet());
    at("invite-dialog").addEventListener("close", () => this.#close());
  }

  /** Invite a class by its code, or one student of it. */
  open({ code, name }) {
    const { elements } = at("invite-form");
    elements.code.value = code ?? "";
    elements.name.value = name ?? "";
    this.#isFirst = false;
    at("invite-dialog").showModal();
    this.repaint();
  }

  /** Write everything again: another language. */
  repaint() {
    if (!at("invite-dialog").open) return;
    const classes = [...this.#room.groups().values()].filter(({ code, count }) => code !== null && count !== 1);
    at("invite-codes").replaceChildren(...classes.map(({ code }) => new Option(tame(code, 30), code)));
    this.#draw();
  }

  async #draw() {
    clearTimeout(this.#typed);
    const asked = ++this.#asked;
    const { code, name } = at("invite-form").elements;
    this.#show(null);
    const { fault, made } = await this.#ask(code.value.trim(), name.value.trim(), this.#isFirst);
    if (asked !== this.#asked || !at("invite-dialog").open) return; // something else is asked for, or nothing any more
    this.#show(made ?? null, fault);
  }

  /** Ask the gateway for an invitation. The key in it stays in this page: in no title, no link and no history. */
  async #ask(code, name, isFirst = false) {
    const folder = new URL(".", location.href).pathname;
    const asked = new URLSearchParams({ code, name, folder, ...(isFirst ? { to: "trust" } : {}) });
    try {
      const answer = await fetch(`invitation?${asked}`, { headers: credentials() });
      if (answer.ok) return { made: { ...(await answer.json()), ...(isFirst ? { code: "", name: "" } : { code, name }) } };
      if (answer.status === 401) {
        at("invite-dialog").close();
        this.#askToken();
      }
      return { fault: FAULTS[answer.status] ?? "recordings.fault" };
    } catch {
      return { fault: "link.down" };
    }
  }

  #show(made, fault = null) {
    this.#shown = made;
    at("invite-code").replaceChildren(...(made?.qr ? [drawn(made)] : []));
    write(at("invite-url"), made?.url ?? "");
    write(at("invite-copied"), "");
    write(at("invite-who"), made === null ? "" : whoOf(made));
    write(at("invite-state"), fault !== null ? t(fault) : made === null ? "" : noteOf(made));
    at("invite-copy").disabled = at("invite-print").disabled = made === null;
    write(at("invite-how"), t(this.#isFirst ? "invite.how.first" : "invite.how"));
    at("invite-first").setAttribute("aria-pressed", this.#isFirst);
    if (made !== null) at("invite-first").hidden = !made.must_trust;
  }

  async #printSheet() {
    const names = at("invite-names").value.split("\n").map((each) => each.trim().replace(/\s+/g, " ")).filter(Boolean);
    const twice = names.filter((each, place) => names.indexOf(each) < place);
    const state = at("invite-sheet-state");
    if (names.length === 0) return write(state, t("invite.empty"));
    if (names.length > NAMES_MAX) return write(state, t("invite.many", { n: names.length, max: NAMES_MAX }));
    if (twice.length) return write(state, t("invite.twice", { names: [...new Set(twice)].map((each) => tame(each)).join(", ") }));
    const code = at("invite-form").elements.code.value.trim();
    const all = [];
    at("invite-sheet").disabled = true;
    try {
      for (const name of names) {
        write(state, t("invite.drawing", { n: all.length + 1, all: names.length }));
        const { fault, made } = await this.#ask(code, name);
        if (!at("invite-dialog").open) return undefined;
        if (made?.qr == null) return write(state, `${tame(name)}: ${t(fault ?? "invite.long")}`);
        all.push(made);
      }
    } finally {
      at("invite-sheet").disabled = false;
    }
    write(state, "");
    return printed(all);
  }

  #close() {
    this.#asked += 1;
    clearTimeout(this.#typed);
    this.#show(null);
    at("invite-names").value = "";
    write(at("invite-sheet-state"), "");
    at("paper").replaceChildren();
  }
}

function whoOf({ name, code }) {
  return [tame(name, 200), tame(code, 200)].filter(Boolean).join(" · ");
}

/** What keeps phones from using an address. */
function noteOf({ url, qr, is_here_only, must_trust }) {
  if (is_here_only) return t("invite.here_only");
  if (qr === null) return t("invite.long");
  return url.startsWith("http:") && !must_trust ? t("invite.insecure") : "";
}

/** Draw a QR code black on white, whatever the theme; of what the server sent only the lines are taken. */
function drawn({ qr, name, code }) {
  const sent = new DOMParser().parseFromString(qr, "image/svg+xml").documentElement;
  const svg = document.createElementNS(SVG, "svg");
  const [ground, lines] = ["path", "path"].map((each) => svg.appendChild(document.createElementNS(SVG, each)));
  const size = Number(sent.getAttribute("viewBox").split(" ")[2]);
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("class", "qr");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", t("invite.qr", { who: whoOf({ name, code }) || "NeuroOne" }));
  svg.setAttribute("shape-rendering", "crispEdges");
  ground.setAttribute("d", `M0 0h${size}v${size}h-${size}z`);
  ground.setAttribute("fill", "#fff");
  lines.setAttribute("d", sent.querySelector("path[stroke]").getAttribute("d"));
  lines.setAttribute("stroke", "#000");
  return svg;
}

/** Put invitations on paper: one as large as the page, or a sheet of them. */
function printed(all) {
  const paper = at("paper");
  paper.replaceChildren(...all.map((made) => {
    const item = document.createElement("figure");
    const who = document.createElement("figcaption");
    const name = document.createElement("bdi");
    name.textContent = tame(made.name || made.code, 200);
    const below = document.createElement("small");
    below.textContent = all.length === 1 ? made.url : made.name ? tame(made.code, 200) : "";
    who.append(name, below);
    item.append(...(made.qr === null ? [] : [drawn(made)]), who);
    return item;
  }));
  paper.toggleAttribute("data-large", all.length === 1);
  print();
}

/** Copy a text: on plain http browsers have no clipboard, but still copy what is marked. */
async function copy(element) {
  getSelection().selectAllChildren(element);
  let isCopied = false;
  try {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(element.textContent);
      isCopied = true;
    } else {
      isCopied = document.execCommand("copy");
    }
  } catch {
    // the browser's user has forbidden it
  }
  write(at("invite-copied"), t(isCopied ? "invite.copied" : "invite.not_copied"));
}
