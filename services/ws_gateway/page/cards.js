/** The list of the class: a card a student, changed only where something changed and only as fast as the eye reads. */
import { ageOf, badgeOf, esense, isHeld, labelOf, mark, showBadge, write, zone } from "./badges.js";
import { colour } from "./look.js";
import { t } from "./words.js";

/** Time that cards may take of one frame; the rest of them waits for the next. */
const BUDGET_MS = 6;
/** What a card's little chart shows. */
const SPARK_S = 60;
const SPARK_HEIGHT = 26;

export class Cards {
  #list;
  #cards = new Map();
  #seen = new Set();
  #order = [];
  #turn = 0;
  #palette = {};
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

  /** Draw everything anew: another theme, another language, names hidden or shown. */
  repaint() {
    const names = ["attention", "meditation", "grid", "edge"];
    this.#palette = Object.fromEntries(names.map((name) => [name, colour(name)]));
    for (const card of this.#cards.values()) {
      card.drawn = -1;
      this.#label(card);
    }
  }

  /** Bring cards up to date until the frame's time is used up; true when some wait. */
  draw(now_s) {
    const until = performance.now() + BUDGET_MS;
    for (let done = 0; done < this.#order.length; done += 1) {
      const card = this.#order[this.#turn % this.#order.length];
      this.#turn = (this.#turn + 1) % this.#order.length;
      if (this.#refresh(card, now_s) && performance.now() > until) return true;
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
    const spark = make("canvas");
    spark.height = SPARK_HEIGHT * 2;
    spark.setAttribute("aria-hidden", "true");
    const age = make("span", "age");
    top.append(age);
    root.append(open, top, attention.root, meditation.root, spark);
    const card = { student, root, open, name, badge, attention, meditation, spark, age, drawn: -1, said: "" };
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
    row.bar.style.transform = `scaleX(${value / 100})`;
  }

  #spark({ spark, student, root }) {
    const width = Math.max(40, spark.clientWidth) * 2;
    if (spark.width !== width) spark.width = width;
    const pen = spark.getContext("2d");
    const { height } = spark;
    pen.clearRect(0, 0, width, height);
    pen.strokeStyle = this.#palette.grid;
    pen.lineWidth = 1;
    pen.beginPath();
    for (const part of [0.5, height / 2, height - 0.5]) {
      pen.moveTo(0, part);
      pen.lineTo(width, part);
    }
    pen.stroke();
    const { history } = student;
    const newest = history.length ? history.back("time", 0) : 0;
    for (const what of ["meditation", "attention"]) {
      pen.strokeStyle = this.#palette[what];
      pen.lineWidth = what === "attention" ? 3 : 2;
      pen.setLineDash(what === "attention" ? [] : [6, 4]);
      pen.beginPath();
      let isDown = false;
      let last = newest;
      for (let back = 0; back < history.length; back += 1) {
        const time = history.back("time", back);
        const age_s = newest - time;
        if (age_s > SPARK_S) break;
        const value = history.back(what, back);
        const isValid = value > 0 && history.back("poor", back) <= 0;
        if (last - time > 3) isDown = false;
        last = time;
        if (isValid) {
          const x = width - 2 - (age_s / SPARK_S) * (width - 4);
          const y = height - 2 - (value / 100) * (height - 4);
          if (isDown) pen.lineTo(x, y);
          else pen.moveTo(x, y);
          if (!isDown && back === 0) pen.lineTo(x - 1, y);
        }
        isDown = isValid;
      }
      pen.stroke();
    }
    pen.setLineDash([]);
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
