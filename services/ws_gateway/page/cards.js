/** The class as tiles, one a student, changed only where something changed and only as fast as the eye reads. */
import { badgeOf, codeOf, doubtOf, esense, labelOf, mark, showBadge, troubleOf, write } from "./badges.js";
import { fit, formsOf } from "./fit.js";
import { t } from "./words.js";

/** Tiles that are brought up to date in one frame, layout and paint below 20 ms; the rest waits for the next. */
const CARDS_A_FRAME = 60;
/** A tile outside of the screen is brought up to date for who searches the page or has it read aloud. */
const UNSEEN_PERIOD_S = 5;
/** Curves that are drawn anew in a second: those of a class; more take turns. */
const SPARKS_A_SECOND = 25;
/** What a tile's little chart shows. */
const SPARK_S = 60;
/** Readings so far apart are not joined by a line. */
const GAP_S = 3;
/** Space below the last row. */
const FOOT = 8;
const SVG = "http://www.w3.org/2000/svg";

export class Cards {
  #list;
  #cards = new Map();
  #seen = new Set();
  #order = [];
  #turn = 0;
  #observer;
  #columns = 1;
  #fitted = "";

  constructor(list, open) {
    this.#list = list;
    this.#observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const card = this.#cards.get(target.dataset.key);
        if (card === undefined) continue;
        if (isIntersecting) this.#seen.add(card);
        else this.#seen.delete(card);
        card.drawn = -1;
        card.sparked_s = -Infinity;
      }
    }, { rootMargin: "60px" });
    list.addEventListener("click", ({ target }) => {
      const button = target.closest(".open");
      if (button) open(button.closest(".card").dataset.key);
    });
    list.addEventListener("keydown", (event) => this.#walk(event));
    list.addEventListener("focusin", ({ target }) => this.#rove(target));
    new ResizeObserver(() => this.#fit()).observe(document.body);
  }

  /** Show these students, in this order. */
  arrange(students) {
    const focused = document.activeElement;
    const wanted = new Set(students.map((student) => student.key));
    for (const [key, card] of this.#cards) {
      if (wanted.has(key)) continue;
      card.root.remove();
      this.#observer.unobserve(card.root);
      this.#seen.delete(card);
      this.#cards.delete(key);
    }
    this.#order = students.map((student) => this.#cards.get(student.key) ?? this.#make(student));
    let place = this.#list.firstElementChild;
    for (const { root } of this.#order) {
      if (root === place) place = place.nextElementSibling;
      else this.#list.insertBefore(root, place);
    }
    for (const card of this.#order) this.#name(card);
    this.#fit();
    if (focused !== document.activeElement && this.#list.contains(focused)) focused.focus({ preventScroll: true });
    if (!this.#list.querySelector('.open[tabindex="0"]') && this.#order.length) this.#order[0].open.tabIndex = 0;
  }

  /** Write everything anew, in another language. */
  repaint(now_s) {
    for (const card of this.#cards.values()) {
      card.drawn = -1;
      card.label = null;
      for (const row of Object.values(card.rows)) write(row.what, t(row.name));
      this.#name(card);
      this.#refresh(card, now_s);
    }
    this.#fit();
  }

  /** Bring as many tiles up to date as one frame bears; true when some may wait. */
  draw(now_s) {
    let changed = 0;
    for (let seen = 0; seen < this.#order.length; seen += 1) {
      const card = this.#order[this.#turn % this.#order.length];
      this.#turn = (this.#turn + 1) % this.#order.length;
      changed += this.#refresh(card, now_s);
      if (changed === CARDS_A_FRAME) return true;
    }
    return false;
  }

  #make(student) {
    const root = make("li", "card");
    root.dataset.key = student.key;
    const badge = make("span", "badge");
    const shape = make("i", "shape");
    shape.setAttribute("aria-hidden", "true");
    badge.append(shape, make("span", "hidden"));
    const open = make("button", "open");
    open.type = "button";
    open.tabIndex = -1;
    const name = make("bdi");
    open.append(name);
    const code = make("small", "code");
    const top = make("div", "top");
    top.append(badge, open, code);
    const rows = { attention: makeRow("attention"), meditation: makeRow("meditation") };
    const values = make("div", "values");
    values.append(rows.attention.root, rows.meditation.root);
    const { spark, lines } = makeSpark();
    const trouble = make("span", "trouble");
    root.append(top, values, spark, trouble);
    const card = { student, root, open, name, code, badge, rows, lines, trouble, drawn: -1, said: "", label: null, at_s: -Infinity, sparked_s: -Infinity };
    this.#cards.set(student.key, card);
    this.#observer.observe(root);
    return card;
  }

  /** Write who this is; names are fitted again if one, or the code beside one, has changed. */
  #name(card) {
    const label = labelOf(card.student);
    const code = codeOf(card.student);
    if (card.label === label && card.code.textContent === code) return;
    write(card.code, code);
    card.label = label;
    this.#fitted = "";
  }

  /** Bring one tile up to date; whether anything was to be done. */
  #refresh(card, now_s) {
    const { student } = card;
    const trouble = troubleOf(student, now_s);
    const said = `${student.presence(now_s)} ${trouble}`;
    if (card.drawn === student.version && card.said === said) return false;
    const isSeen = this.#seen.has(card);
    if (!isSeen && card.said === said && now_s - card.at_s < UNSEEN_PERIOD_S) return false;
    card.drawn = student.version;
    card.said = said;
    card.at_s = now_s;
    this.#name(card);
    showBadge(card.badge, badgeOf(student, now_s));
    write(card.trouble, trouble);
    mark(card.trouble, "title", trouble && student.isDoubtful ? doubtOf(student.doubt).sentence : null);
    mark(card.root, "data-presence", student.presence(now_s));
    mark(card.root, "data-doubtful", student.isDoubtful ? "" : null);
    mark(card.root, "data-trouble", trouble ? "" : null);
    for (const row of Object.values(card.rows)) write(row.value, esense(student.reading?.[row.name] ?? 0));
    if (isSeen && now_s - card.sparked_s > this.#seen.size / SPARKS_A_SECOND - 0.2) {
      card.sparked_s = now_s;
      this.#spark(card);
    }
    return true;
  }

  #spark({ lines, student }) {
    for (const [what, line] of Object.entries(lines)) line.setAttribute("d", outlineOf(student, what));
  }

  /** Give the tiles the size with which all are in view; a code that leaves its name no room goes below it. */
  #fit() {
    const top = this.#list.getBoundingClientRect().top + scrollY;
    const below = Number.parseFloat(getComputedStyle(this.#list).getPropertyValue("--below")) || 0;
    const width = this.#list.clientWidth;
    if (!width || !this.#order.length) return;
    const size = fit(this.#order.length, width, innerHeight - top - below - FOOT);
    const fitted = JSON.stringify([size, this.#order.length]);
    if (fitted === this.#fitted) return;
    this.#fitted = fitted;
    this.#columns = size.columns;
    this.#list.style.gridTemplateColumns = `repeat(${size.columns}, ${size.width}px)`;
    this.#list.style.setProperty("--height", `${size.height}px`);
    this.#list.style.fontSize = `${size.font}px`;
    for (const card of this.#order) mark(card.root, "data-code-below", null);
    const cut = this.#writeNames(this.#order).filter((card) => card.code.textContent);
    for (const card of cut) mark(card.root, "data-code-below", "");
    this.#writeNames(cut);
  }

  /** Give each name the longest form that its tile has room for; return the tiles that have room for none. */
  #writeNames(cards) {
    const cut = [];
    for (let form = 0; cards.length; form += 1) {
      cut.push(...cards.filter((card) => form >= formsOf(card.label).length));
      cards = cards.filter((card) => form < formsOf(card.label).length);
      for (const card of cards) {
        write(card.name, formsOf(card.label)[form]);
        mark(card.open, "title", form ? card.label : null);
      }
      cards = cards.filter(({ open }) => open.scrollHeight > open.clientHeight + 1 || open.scrollWidth > open.clientWidth);
    }
    return cut;
  }

  #walk(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.#columns, ArrowUp: -this.#columns };
    const at = this.#order.findIndex((card) => card.root.contains(document.activeElement));
    let to = { Home: 0, End: this.#order.length - 1 }[event.key];
    if (event.key in steps && at >= 0) to = at + steps[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    this.#order[Math.min(Math.max(to, 0), this.#order.length - 1)].open.focus();
  }

  #rove(target) {
    const open = target.closest(".open");
    if (open === null) return;
    for (const each of this.#list.querySelectorAll('.open[tabindex="0"]')) each.tabIndex = -1;
    open.tabIndex = 0;
  }
}

/** The last minute as an SVG path; it breaks where there was no valid value. */
function outlineOf(student, what) {
  const { history } = student;
  let path = "";
  let after = null;
  const newest = history.length ? history.back("time", 0) : 0;
  for (let back = 0; back < history.length; back += 1) {
    const time = history.back("time", back);
    if (newest - time > SPARK_S) break;
    const value = history.back(what, back);
    const isValid = value > 0 && student.isSure(history, back);
    if (isValid) path += `${after !== null && after - time < GAP_S ? "L" : "M"}${(SPARK_S - newest + time).toFixed(1)} ${100 - value}`;
    after = isValid ? time : null;
  }
  return path;
}

function makeSpark() {
  const spark = document.createElementNS(SVG, "svg");
  spark.setAttribute("viewBox", `0 -4 ${SPARK_S} 108`);
  spark.setAttribute("preserveAspectRatio", "none");
  spark.setAttribute("aria-hidden", "true");
  const lines = {};
  for (const what of ["middle", "meditation", "attention"]) {
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("class", what);
    spark.append(line);
    if (what === "middle") line.setAttribute("d", `M0 50H${SPARK_S}`);
    else lines[what] = line;
  }
  return { spark, lines };
}

function makeRow(name) {
  const root = make("span", `row ${name}`);
  const what = make("span", "hidden");
  what.textContent = t(name);
  const value = make("span", "value");
  root.append(what, value);
  return { name, root, what, value };
}

function make(tag, className = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  return element;
}
