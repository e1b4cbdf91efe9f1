/** The list of the class: a card a student, changed only where something changed and only as fast as the eye reads. */
import { ageOf, badgeOf, esense, isHeld, labelOf, mark, showBadge, write, zone } from "./badges.js";
import { t } from "./words.js";

/** Cards that are brought up to date in one frame, layout and paint below 20 ms; the rest waits for the next. */
const CARDS_A_FRAME = 40;
/** What a card's little chart shows. */
const SPARK_S = 60;
/** Readings so far apart are not joined by a line. */
const GAP_S = 3;
const SVG = "http://www.w3.org/2000/svg";

export class Cards {
  #list;
  #cards = new Map();
  #seen = new Set();
  #order = [];
  #turn = 0;
  #observer;
  /** In front of the class: no names, no numbers. */
  hidden = false;

  constructor(list, open) {
    this.#list = list;
    this.#observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const card = this.#cards.get(target.dataset.key);
        if (card === undefined) continue;
        if (isIntersecting) this.#seen.add(card);
        else this.#seen.delete(card);
        card.drawn = -1;
      }
    }, { rootMargin: "200px" });
    list.addEventListener("click", ({ target }) => {
      const button = target.closest(".open");
      if (button && !this.hidden) open(button.closest(".card").dataset.key);
    });
    list.addEventListener("keydown", (event) => this.#walk(event));
    list.addEventListener("focusin", ({ target }) => this.#rove(target));
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
    if (focused !== document.activeElement && this.#list.contains(focused)) focused.focus({ preventScroll: true });
    if (!this.#list.querySelector('.open[tabindex="0"]') && this.#order.length) this.#order[0].open.tabIndex = 0;
  }

  /** Write everything anew: another language, names hidden or shown. */
  repaint(now_s) {
    for (const card of this.#cards.values()) {
      card.drawn = -1;
      this.#label(card);
      this.#refresh(card, now_s);
    }
  }

  /** Bring as many cards up to date as one frame bears; true when some may wait. */
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
    const open = make("button", "open");
    open.type = "button";
    open.tabIndex = -1;
    const name = make("bdi");
    open.append(name);
    const badge = make("span", "badge");
    const shape = make("i", "shape");
    shape.setAttribute("aria-hidden", "true");
    badge.append(shape, make("span"));
    const top = make("div", "top");
    top.append(badge);
    const attention = makeRow("attention");
    const meditation = makeRow("meditation");
    const { spark, lines } = makeSpark();
    const age = make("span", "age");
    top.append(age);
    root.append(open, top, attention.root, meditation.root, spark);
    const card = { student, root, open, name, badge, attention, meditation, lines, age, drawn: -1, said: "" };
    this.#cards.set(student.key, card);
    this.#label(card);
    this.#observer.observe(root);
    return card;
  }

  #label(card) {
    for (const row of [card.attention, card.meditation]) write(row.label, t(row.what));
    write(card.name, labelOf(card.student, this.hidden));
    card.open.disabled = this.hidden;
    card.said = "";
  }

  /** Bring one card up to date; whether anything was to be done. */
  #refresh(card, now_s) {
    const { student } = card;
    const presence = student.presence(now_s);
    const said = `${presence} ${ageOf(student, now_s)} ${student.seat}`;
    if (card.drawn === student.version && card.said === said) return false;
    const isFresh = card.drawn !== student.version;
    card.drawn = student.version;
    card.said = said;
    const label = labelOf(student, this.hidden);
    write(card.name, label);
    showBadge(card.badge, badgeOf(student, now_s));
    write(card.age, presence === "online" && student.reading === null ? "" : ageOf(student, now_s));
    mark(card.root, "data-presence", presence);
    mark(card.root, "data-held", isHeld(student) ? "" : null);
    for (const row of [card.attention, card.meditation]) this.#value(row, student);
    if (isFresh && !this.hidden && this.#seen.has(card)) this.#spark(card);
    return true;
  }

  #value(row, student) {
    const value = this.hidden ? 0 : (student.reading?.[row.what] ?? 0);
    const words = this.hidden ? "" : zone(student, value);
    write(row.value, this.hidden ? "" : esense(value));
    write(row.zone, words);
    if (row.shown === value && row.words === words) return;
    row.shown = value;
    row.words = words;
    row.bar.style.width = `${value}%`;
  }

  #spark({ lines, student }) {
    for (const [what, line] of Object.entries(lines)) line.setAttribute("d", outlineOf(student.history, what));
  }

  #walk(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.#across(), ArrowUp: -this.#across() };
    const at = this.#order.findIndex((card) => card.root.contains(document.activeElement));
    let to = { Home: 0, End: this.#order.length - 1 }[event.key];
    if (event.key in steps && at >= 0) to = at + steps[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    this.#order[Math.min(Math.max(to, 0), this.#order.length - 1)].open.focus();
  }

  #across() {
    const top = this.#order[0]?.root.offsetTop;
    const count = this.#order.findIndex((card) => card.root.offsetTop !== top);
    return count < 0 ? this.#order.length : count;
  }

  #rove(target) {
    const open = target.closest(".open");
    if (open === null) return;
    for (const each of this.#list.querySelectorAll('.open[tabindex="0"]')) each.tabIndex = -1;
    open.tabIndex = 0;
  }
}

/** The last minute as an SVG path; it breaks where there was no valid value. */
function outlineOf(history, what) {
  let path = "";
  let after = null;
  const newest = history.length ? history.back("time", 0) : 0;
  for (let back = 0; back < history.length; back += 1) {
    const time = history.back("time", back);
    if (newest - time > SPARK_S) break;
    const value = history.back(what, back);
    const isValid = value > 0 && history.back("poor", back) <= 0;
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

function makeRow(what) {
  const root = make("div", "row");
  const label = make("span", "label");
  const value = make("span", "value");
  const meter = make("i", `meter ${what}`);
  meter.setAttribute("aria-hidden", "true");
  const bar = make("i");
  meter.append(bar);
  const zone = make("span", "zone");
  root.append(label, value, meter, zone);
  return { what, root, label, value, bar, zone, shown: null, words: null };
}

function make(tag, className = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  return element;
}
