/** What is shown on the wall: how many are there, how many have contact, the lesson's time; no names, no values of anybody. */
import { write } from "./badges.js";
import { Ring } from "./ring.js";
import { number, t } from "./words.js";

/** The class's curve has a point every so often, for two hours. */
const POINT_PERIOD_S = 10;
const POINTS_MAX = 720;
/** Points so far apart are not joined. */
const GAP_S = 3 * POINT_PERIOD_S;
/** The button to leave is seen for so long after the pointer moves. */
const STIRRED_MS = 3000;

const at = (id) => document.getElementById(id);

export class Projection {
  isOn = false;
  #curve = new Ring(POINTS_MAX, { time: Float64Array, attention: Float64Array });
  #pointed_s = -Infinity;
  #resting = null;

  constructor() {
    addEventListener("pointermove", () => this.#stir());
    addEventListener("pointerdown", () => this.#stir());
  }

  turn() {
    this.isOn = !this.isOn;
    document.body.classList.toggle("projecting", this.isOn);
    if (this.isOn) this.#stir();
  }

  /** Show the sums of the class; its mean becomes a point of the curve. */
  show({ connected, good, isGuess, elapsed, attention }, now_s) {
    if (now_s - this.#pointed_s >= POINT_PERIOD_S) {
      this.#pointed_s = now_s;
      if (attention !== null) this.#curve.push({ time: now_s, attention });
    }
    if (!this.isOn) return;
    write(at("projected-connected"), number(connected));
    write(at("projected-connected-what"), t("project.connected", { n: connected }));
    write(at("projected-good"), number(good));
    write(at("projected-good-what"), t(isGuess ? "project.valid" : "project.good", { n: good }));
    write(at("projected-elapsed"), elapsed || "--");
    at("curve").hidden = !at("with-curve").checked || this.#curve.length < 2;
    if (!at("curve").hidden) this.#draw();
  }

  #draw() {
    const curve = this.#curve;
    const [first, last] = [curve.back("time", curve.length - 1), curve.back("time", 0)];
    let path = "";
    for (let back = curve.length - 1, before = -Infinity; back >= 0; back -= 1) {
      const time = curve.back("time", back);
      const x = (1000 * (time - first)) / (last - first);
      path += `${time - before > GAP_S ? "M" : "L"}${x.toFixed(1)} ${(100 - curve.back("attention", back)).toFixed(1)}`;
      before = time;
    }
    const svg = at("curve").querySelector("svg");
    if (!svg.children.length) {
      for (const name of ["middle", "line"]) {
        const line = document.createElementNS(svg.namespaceURI, "path");
        line.setAttribute("class", name);
        svg.append(line);
      }
      svg.firstElementChild.setAttribute("d", "M0 50H1000");
    }
    svg.lastElementChild.setAttribute("d", path);
    svg.setAttribute("aria-label", `${t("project.curve")}: ${number(curve.back("attention", 0))}`);
  }

  #stir() {
    if (!this.isOn) return;
    document.body.classList.add("stirred");
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => document.body.classList.remove("stirred"), STIRRED_MS);
  }
}
