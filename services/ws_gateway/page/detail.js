/** One student's page: eSense over the session, bands, raw samples where there are any, and the events of the class. */
import { ageOf, badgeOf, doubtOf, esense, labelOf, showBadge, write, zone } from "./badges.js";
import { BANDS, EVERYBODY } from "./classroom.js";
import { colour } from "./look.js";
import { Ring } from "./ring.js";
import { clock, number, t, tame } from "./words.js";

const CHART_HEIGHT = 230;
/** Rows in the tables that stand beside the charts. */
const TABLE_ROWS = 30;
/** Points of a chart: no more than pixels on a wide screen. */
const POINTS_MAX = 2000;
const BANDS_SHOWN_S = 120;
/** Four seconds at 512 Hz. */
const RAW_SAMPLES = 2048;
/** Readings so far apart are not joined by a line. */
const GAP_S = 3;
/** The three highest bits of a band are a small negative number that ran over: no power. */
const BAND_OVERRUN = 16_700_000;
const DASHES = { meditation: [8, 4], theta: [8, 4], high_alpha: [2, 3], high_beta: [8, 4], mid_gamma: [2, 3] };

const at = (id) => document.getElementById(id);

/** What to do about a link that has something to say, in our words; in its own where the code is new to us. */
function hintOf({ code, hint, device }) {
  if (hint === null) return null;
  const words = t(`hint.${code}`, { device: tame(device ?? "") });
  return words.startsWith("hint.") ? hint : words;
}

let loading = null;

/** uPlot, when somebody looks at a student for the first time. */
function loadPlots() {
  loading ??= new Promise((resolve, reject) => {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = "page/uplot/uPlot.min.css";
    const script = document.createElement("script");
    script.src = "page/uplot/uPlot.iife.min.js";
    script.onload = () => resolve(globalThis.uPlot);
    script.onerror = reject;
    document.head.append(style, script);
  });
  return loading;
}

export class Detail {
  #room;
  #watch;
  #student = null;
  #uPlot = null;
  #charts = {};
  #drawn = -1;
  #events = -1;
  #raw = new Ring(RAW_SAMPLES, { sample: Float64Array, value: Float64Array });
  #rate_hz = 512;
  #hasNewRaw = false;

  /** `watch` is called with the key of the student whose raw samples are wanted, or null. */
  constructor(room, watch, keepSeat) {
    this.#room = room;
    this.#watch = watch;
    at("scale").addEventListener("change", () => this.repaint());
    at("seat").addEventListener("input", () => this.#student && keepSeat(this.#student, at("seat").value.trim()));
    for (const id of ["esense-table", "bands-table"]) at(id).addEventListener("toggle", () => this.#tables());
    addEventListener("resize", () => this.#resize());
  }

  async open(student) {
    if (this.#student === student) return;
    this.close();
    this.#student = student;
    at("seat").value = student.seat;
    this.#watch(student.key);
    this.#uPlot ??= await loadPlots();
    this.repaint();
  }

  close() {
    if (this.#student === null) return;
    this.#student = null;
    this.#raw = new Ring(RAW_SAMPLES, { sample: Float64Array, value: Float64Array });
    at("raw").hidden = true;
    this.#discard();
    this.#watch(null);
  }

  takeRaw({ group, source, first_sample, rate_hz, samples }) {
    if (this.#student?.key !== `${group}/${source}`) return;
    this.#rate_hz = rate_hz;
    samples.forEach((value, after) => this.#raw.push({ sample: first_sample + after, value }));
    this.#hasNewRaw = true;
  }

  /** Make the charts anew: another theme, another language, another scale. */
  repaint() {
    if (this.#student === null || this.#uPlot === null) return;
    this.#discard();
    const percent = at("scale").value === "relative";
    this.#charts.esense = this.#chart("esense-chart", ["attention", "meditation"], t("esense"), { range: [0, 100] });
    this.#charts.bands = this.#chart("bands-chart", BANDS, t(percent ? "bands.relative" : "bands.log"), {
      digits: 1, range: percent ? [0, 100] : null,
    });
    const scale = at("scale");
    const kept = scale.value || "log";
    scale.replaceChildren(...["log", "relative"].map((each) => new Option(t(`scale.${each}`), each)));
    scale.value = kept;
    this.#drawn = -1;
    this.#events = -1;
  }

  /** Bring everything up to date. */
  draw(now_s) {
    const student = this.#student;
    if (student === null) return;
    write(at("student-name"), labelOf(student));
    showBadge(at("student-contact"), badgeOf(student, now_s));
    write(at("student-age"), ageOf(student, now_s));
    const doubt = student.doubt === null ? null : doubtOf(student.doubt).sentence;
    const simulated = student.isSimulated ? t("simulated.note") : null;
    const notes = [simulated, hintOf(student.link), student.name === null ? t("nameless.note") : null, doubt];
    write(at("student-hint"), notes.filter(Boolean).join(" "));
    const isHidden = student.presence(now_s) !== "online" || student.isDoubtful;
    at("student-attention").closest(".facts").toggleAttribute("data-held", isHidden);
    for (const what of ["attention", "meditation"]) {
      const value = student.reading?.[what] ?? 0;
      write(at(`student-${what}`), `${esense(value)} · ${zone(student, value)}`);
    }
    write(at("student-group"), student.code === null ? t("group.none") : tame(student.code));
    write(at("student-rows"), student.rows === null ? "--" : number(student.rows));
    write(at("student-gaps"), student.rows === null ? "--" : number(student.gaps));
    if (this.#drawn !== student.version && this.#charts.esense) {
      this.#drawn = student.version;
      this.#drawEsense(student);
      this.#drawBands(student);
      this.#tables();
    }
    if (this.#hasNewRaw && this.#uPlot) this.#drawRaw();
    if (this.#events !== this.#room.version) this.#showEvents(student);
  }

  #drawEsense(student) {
    const { history } = student;
    const step = Math.ceil(history.length / POINTS_MAX) || 1;
    const times = [];
    const values = { attention: [], meditation: [] };
    for (let back = history.length - 1; back >= 0; back -= step) {
      const time = history.back("time", back);
      const isValid = student.isSure(history, back);
      if (times.length && time - times.at(-1) > GAP_S * step) {
        times.push(time - 0.5);
        for (const what of ["attention", "meditation"]) values[what].push(null);
      }
      times.push(time);
      for (const what of ["attention", "meditation"]) {
        values[what].push(isValid ? history.back(what, back) || null : null);
      }
    }
    this.#charts.esense.setData([times, values.attention, values.meditation]);
    const known = ["attention", "meditation"].map((what) => {
      const shown = values[what].filter((value) => value !== null);
      const mean = shown.length ? number(shown.reduce((sum, each) => sum + each, 0) / shown.length) : "--";
      return `${t(what)} ${mean}`;
    });
    at("esense-chart").setAttribute("aria-label", `${t("esense")}: ${t("chart.means")} ${known.join(", ")}`);
  }

  #drawBands(student) {
    const { bands } = student;
    const count = Math.min(BANDS_SHOWN_S, bands.length);
    const times = bands.last("time", count);
    const isSure = (back) => student.isSure(bands, back);
    const rows = BANDS.map((band) => bands.last(band, count, (value, back) => (value > BAND_OVERRUN || !isSure(back) ? null : value)));
    const isRelative = at("scale").value === "relative";
    const sums = times.map((_, row) => rows.reduce((sum, band) => sum + (band[row] ?? 0), 0));
    const scaled = rows.map((band) => band.map((value, row) => {
      if (value === null || sums[row] === 0) return null;
      return isRelative ? (100 * value) / sums[row] : Math.log10(1 + value);
    }));
    this.#charts.bands.setData([times, ...scaled]);
    const newest = BANDS.map((band, at) => `${t(band)} ${numberOrDashes(scaled[at].at(-1) ?? null, 1)}`);
    at("bands-chart").setAttribute("aria-label", `${t(isRelative ? "bands.relative" : "bands.log")}: ${newest.join(", ")}`);
  }

  #drawRaw() {
    this.#hasNewRaw = false;
    at("raw").hidden = false;
    this.#charts.raw ??= this.#chart("raw-chart", ["raw"], t("raw"), { isTime: false });
    const count = this.#raw.length;
    const newest = this.#raw.back("sample", 0);
    const times = this.#raw.last("sample", count, (sample) => (sample - newest) / this.#rate_hz);
    this.#charts.raw.setData([times, this.#raw.last("value", count)]);
    at("raw-chart").setAttribute("aria-label", `${t("raw")}: ${t("raw.newest", { n: this.#raw.back("value", 0) })}`);
  }

  #chart(id, names, title, { range = null, digits = 0, isTime = true } = {}) {
    const figure = at(id);
    const axis = { stroke: colour("faint"), grid: { stroke: colour("grid"), width: 1 }, ticks: { stroke: colour("grid") } };
    const series = names.map((name) => ({
      label: t(name), stroke: colour(name), width: names.length > 2 ? 1.5 : 2, dash: DASHES[name], spanGaps: false,
      points: { show: false }, value: (_, value) => numberOrDashes(value, digits),
    }));
    const options = {
      width: this.#widthOf(figure), height: CHART_HEIGHT,
      scales: { x: { time: isTime }, y: range ? { range } : {} },
      axes: [{ ...axis, values: isTime ? (_, ticks) => ticks.map((tick) => clock(tick * 1000)) : undefined, space: 90 },
        { ...axis, size: 60 }],
      series: [{ label: isTime ? t("time") : t("seconds"), value: (_, value) => (value === null ? "--" : isTime ? clock(value * 1000) : number(value, 2)) }, ...series],
      cursor: { drag: { x: false, y: false } },
    };
    figure.setAttribute("aria-label", title);
    return new this.#uPlot(options, [[], ...names.map(() => [])], figure);
  }

  #widthOf(figure) {
    return Math.max(240, figure.clientWidth - 16);
  }

  #resize() {
    for (const chart of Object.values(this.#charts)) {
      chart.setSize({ width: this.#widthOf(chart.root.parentElement), height: CHART_HEIGHT });
    }
  }

  #discard() {
    for (const chart of Object.values(this.#charts)) chart.destroy();
    this.#charts = {};
  }

  /** What the charts show, as text. */
  #tables() {
    const student = this.#student;
    if (student === null) return;
    if (at("esense-table").open) {
      const { history } = student;
      const columns = ["attention", "meditation"].map((what) => history.last(what, TABLE_ROWS, (value, back) => (student.isSure(history, back) ? esense(value) : "--")));
      const contact = history.last("poor", TABLE_ROWS, (poor) => (poor < 0 ? "?" : String(poor)));
      fillTable("esense-table", ["attention", "meditation", "poor_signal"], history.last("time", TABLE_ROWS), [...columns, contact]);
    }
    if (at("bands-table").open) {
      const { bands } = student;
      const columns = BANDS.map((band) => bands.last(band, TABLE_ROWS, (value, back) => numberOrDashes(student.isSure(bands, back) ? value : null)));
      fillTable("bands-table", BANDS, bands.last("time", TABLE_ROWS), columns);
    }
  }

  #showEvents(student) {
    this.#events = this.#room.version;
    const mine = this.#room.events.filter(
      ({ group, source }) => group === EVERYBODY || (group === student.group && (source === null || source === student.source)),
    );
    const items = mine.reverse().map(({ event, time, text }) => {
      const item = document.createElement("li");
      const note = document.createElement("bdi");
      note.textContent = tame(text, 300);
      item.append(`${clock(time)} · ${t(`event.${event}`)}${text ? ": " : ""}`, note);
      return item;
    });
    if (!items.length) {
      const none = document.createElement("li");
      none.textContent = t("events.none");
      items.push(none);
    }
    at("events").replaceChildren(...items);
  }
}

function numberOrDashes(value, digits = 0) {
  return value === null || value === undefined ? "--" : number(value, digits);
}

function fillTable(id, names, times, columns) {
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of ["time", ...names]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = t(name);
    head.append(cell);
  }
  const body = table.createTBody();
  for (let row = times.length - 1; row >= 0; row -= 1) {
    const line = body.insertRow();
    for (const text of [clock(times[row] * 1000), ...columns.map((column) => column[row])]) {
      line.insertCell().textContent = text;
    }
  }
  const box = at(id).querySelector("div");
  box.className = "wide";
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", t("table"));
  box.replaceChildren(table);
}
