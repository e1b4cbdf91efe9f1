/**
 * What the page knows of the class, without a screen: who is there, how each headset sits, what is valid, what is wrong.
 *
 * An eSense is valid unless doubt.js says why not, or it is 0, which means "not computed". Where the app does not say how
 * the headset sits (`poor_signal` null), the teacher chooses whether it counts. Times are seconds of one steady clock.
 */
import { DOUBTS, Doubts, touchesBands, touchesESense } from "./doubt.js";
import { Ring } from "./ring.js";

export const BANDS = [
  "delta", "theta", "low_alpha", "high_alpha", "low_beta", "high_beta", "low_gamma", "mid_gamma",
];
export const STALE_AFTER_S = 3;
export const OFFLINE_AFTER_S = 10;
/** Trouble of this length is an alarm. */
export const ALARM_AFTER_S = 10;
/** The class's mean is of the valid values of this time. */
export const MEAN_OF_S = 30;
/** The group of what is about everybody. */
export const EVERYBODY = "_all";
/** A figure of the class is one of at least so many students. */
export const VALID_MIN = 5;
/** Students on the page; a school with more opens it with ?code=. About 110 kB each. */
export const STUDENTS_MAX = 1000;
/** Two hours at one a second. */
const HISTORY_ROWS = 7200;
/** Ten minutes. */
const BAND_ROWS = 600;
/** Events of the class that a student's page can show. */
const EVENTS_MAX = 200;
/** Who has been away for so long is taken off the page. */
const FORGET_AFTER_S = 3600;
/** ThinkGear: above 50 the sensor does not sit, at 200 it does not touch the skin. */
const POOR_ABOVE = 50;
const OFF_AT = 200;
/** How the history writes a `poor_signal` of null. */
const UNSAID = -1;
const FROZEN = DOUBTS.indexOf("frozen");
/** How the history writes that there is no doubt. */
const SURE = DOUBTS.length;

/** How a headset sits: good, adjusting, poor, off, or unknown where the app does not say. */
export function contactOf(poorSignal) {
  if (poorSignal === null || poorSignal === undefined) return "unknown";
  if (poorSignal === 0) return "good";
  if (poorSignal <= POOR_ABOVE) return "adjusting";
  return poorSignal < OFF_AT ? "poor" : "off";
}

/** NeuroSky's five zones of eSense, 1 to 5; 0 where there is no value. */
export function zoneOf(esense) {
  return esense === 0 ? 0 : Math.min(5, Math.floor(esense / 20) + 1);
}

/** One student, or one headset. */
export class Student {
  id = null;
  name = null;
  code = null;
  session = null;
  status = "online";
  /** What the source of the readings says of its link: a code, a hint in English, and the device. */
  link = { code: null, hint: null, device: null };
  seat = "";
  reading = null;
  /** When the first and the last reading came. */
  since_s = Infinity;
  heard_s = -Infinity;
  /** What tells this student apart from another one of the same name: the code, or the number; empty where there is none. */
  apart = "";
  /** A simulator invents the values. */
  isSimulated = false;
  /** The student is here again under another code. */
  isReplaced = false;
  rows = null;
  gaps = 0;
  /** Raised whenever something is to be shown anew. */
  version = 0;
  history = new Ring(HISTORY_ROWS, {
    time: Float64Array, attention: Uint8Array, meditation: Uint8Array, poor: Int16Array, doubt: Uint8Array,
  });
  bands = new Ring(BAND_ROWS, {
    time: Float64Array, doubt: Uint8Array, ...Object.fromEntries(BANDS.map((band) => [band, Uint32Array])),
  });
  /** Why the newest values mean nothing, one of DOUBTS, or null. */
  doubt = null;
  #doubts = new Doubts();
  #wrong_since = null;
  #seen = null;

  constructor(key, group, source) {
    this.key = key;
    this.group = group;
    this.source = source;
  }

  take(reading, now_s) {
    const again = `${reading.session} ${reading.seq}`;
    if (again === this.#seen) return; // on joining, the gateway repeats the last one
    this.#seen = again;
    this.id = reading.id;
    this.name = reading.name;
    this.code = reading.code;
    this.session = reading.session;
    this.isSimulated = reading.simulated === true;
    this.reading = reading;
    this.heard_s = now_s;
    this.since_s = Math.min(this.since_s, now_s);
    this.status = "online";
    const time = Date.parse(reading.time) / 1000;
    const before = this.doubt;
    this.doubt = this.#doubts.add(reading);
    const row = { ...reading, time, poor: reading.poor_signal ?? UNSAID, doubt: this.doubt === null ? SURE : DOUBTS.indexOf(this.doubt) };
    for (const rows of [this.history, this.bands]) {
      rows.push(row);
      if (this.doubt === "frozen") this.#freeze(rows);
    }
    if (!touchesESense(this.doubt)) this.#wrong_since = null;
    else if (this.doubt !== before) this.#wrong_since = now_s;
    this.version += 1;
  }

  takeState(state) {
    this.id = state.id ?? this.id;
    this.name = state.name;
    this.code = state.code;
    this.status = state.status;
    this.isSimulated = state.simulated === true;
    this.link = { code: state.link, hint: state.hint, device: state.device };
    this.version += 1;
  }

  /** online, stale or offline. */
  presence(now_s) {
    const age_s = now_s - this.heard_s;
    if (this.status === "offline" || age_s > OFFLINE_AFTER_S) return "offline";
    return this.status === "stale" || age_s > STALE_AFTER_S ? "stale" : "online";
  }

  get contact() {
    return contactOf(this.reading?.poor_signal);
  }

  /** Whether the headset sits well; where it does not say so, and that is to count, whether its values are in order. */
  hasContact(with_unknown) {
    return this.contact === "good" || (with_unknown && this.contact === "unknown" && !this.isDoubtful);
  }

  /** Whether the present attention and meditation mean nothing. */
  get isDoubtful() {
    return touchesESense(this.doubt);
  }

  /** Whether a row of `history` has an attention that means something, and one of `bands` powers that do. */
  isSure(rows, back) {
    const doubt = DOUBTS[rows.back("doubt", back)] ?? null;
    return !(rows === this.bands ? touchesBands(doubt) : touchesESense(doubt));
  }

  /** What is wrong for longer than a moment: "offline", a doubt, or null. */
  trouble(now_s, watching_since_s) {
    if (now_s - Math.max(this.heard_s, watching_since_s) > ALARM_AFTER_S) return "offline";
    if (this.presence(now_s) !== "online" || this.#wrong_since === null) return null;
    return this.doubt === "frozen" || now_s - this.#wrong_since > ALARM_AFTER_S ? this.doubt : null;
  }

  /** Whether somebody should look at the headset: 0 at once, 1 soon, 2 not. */
  need(now_s) {
    if (this.presence(now_s) !== "online") return 0;
    if (this.isDoubtful) return this.contact === "adjusting" ? 1 : 0;
    return 2;
  }

  /** Mean of the valid values of the last 30 s; null where there are none. */
  mean(what, with_unknown) {
    const { history } = this;
    const from = history.length ? history.back("time", 0) - MEAN_OF_S : 0;
    let sum = 0;
    let count = 0;
    for (let back = 0; back < history.length && history.back("time", back) > from; back += 1) {
      const poor = history.back("poor", back);
      const value = history.back(what, back);
      if (value > 0 && this.isSure(history, back) && (poor === 0 || (with_unknown && poor === UNSAID))) {
        sum += value;
        count += 1;
      }
    }
    return count ? sum / count : null;
  }

  /** Mark the equal rows back: that they are frozen is known only after some time. */
  #freeze(rows) {
    const count = Math.min(this.#doubts.same, rows.length);
    for (let back = 0; back < count && (back === 0 || rows.back("doubt", back) !== FROZEN); back += 1) {
      rows.change("doubt", back, FROZEN);
    }
  }
}

/** Everybody, by class. */
export class Classroom {
  students = new Map();
  /** The lesson that runs in each group, or in EVERYBODY: `{ name, since, door, raw }`. */
  lessons = new Map();
  events = [];
  /** Students that found no room. */
  refused = 0;
  /** Raised when somebody comes, goes or is renamed. */
  version = 0;
  recorded_s = -Infinity;

  takeReading(reading, now_s) {
    const student = this.#student(reading);
    if (student === null) return;
    if (student.name !== reading.name || student.id !== reading.id) this.version += 1;
    student.take(reading, now_s);
  }

  takeState(state, now_s) {
    if (state.status === "offline" && !this.students.has(keyOf(state))) return;
    const student = this.#student(state);
    if (student === null) return;
    if (student.name !== state.name || student.heard_s === -Infinity) this.version += 1;
    if (student.heard_s === -Infinity) student.heard_s = now_s;
    student.takeState(state);
  }

  takeRecorded({ streams }, now_s) {
    this.recorded_s = now_s;
    for (const stream of streams) {
      const student = this.students.get(keyOf(stream));
      if (student === undefined || stream.session !== student.session) continue;
      student.rows = stream.rows;
      student.gaps = stream.gaps;
    }
  }

  takeEvent(event) {
    if (this.events.some((known) => known.id === event.id)) return;
    this.events.push(event);
    if (this.events.length > EVENTS_MAX) this.events.shift();
    this.version += 1;
  }

  takeLesson({ group, name, began, door, raw = false }) {
    if (began === null) this.lessons.delete(group);
    else this.lessons.set(group, { name, since: Date.parse(began), door, raw });
    this.version += 1;
  }

  /** The lessons of a class, or all of them (""): the class's own one counts before that of everybody. */
  lessonsOf(group) {
    if (!group) return this.lessons;
    const its = this.lessons.has(group) ? group : EVERYBODY;
    return new Map([...this.lessons].filter(([each]) => each === its));
  }

  /** The groups: each with its code as it was typed (null: none) and how many students it has. */
  groups() {
    const groups = new Map();
    for (const { group, code, isReplaced } of this.students.values()) {
      if (!isReplaced) groups.set(group, { code, count: (groups.get(group)?.count ?? 0) + 1 });
    }
    for (const group of this.lessons.keys()) {
      if (!groups.has(group) && group !== EVERYBODY) groups.set(group, { code: group, count: 0 });
    }
    return groups;
  }

  /** The students of a class, or of all (""). */
  of(group) {
    return [...this.students.values()].filter((each) => !each.isReplaced && (!group || each.group === group));
  }

  /** Find who is back under another code, and who shares a name with somebody else. */
  tellApart(now_s) {
    const byName = new Map();
    for (const student of this.students.values()) {
      if (student.name === null) continue;
      if (byName.has(student.name)) byName.get(student.name).push(student);
      else byName.set(student.name, [student]);
    }
    for (const same of byName.values()) {
      const isBack = ({ heard_s }) => same.some((other) => other.since_s >= heard_s && other.presence(now_s) !== "offline");
      const here = same.filter((each) => same.length === 1 || each.presence(now_s) !== "offline" || !isBack(each));
      const codes = here.map(({ code, id, source }) => code ?? id ?? source);
      for (const each of same) {
        const isCodeEnough = codes.filter((code) => code === each.code).length === 1;
        const apart = here.length < 2 ? "" : isCodeEnough ? each.code : String(each.id ?? each.source);
        this.#set(each, { isReplaced: !here.includes(each), apart });
      }
    }
  }

  forgetTheLongGone(now_s) {
    for (const [key, student] of this.students) {
      if (now_s - student.heard_s > FORGET_AFTER_S) {
        this.students.delete(key);
        this.version += 1;
      }
    }
  }

  #set(student, { isReplaced, apart }) {
    if (student.isReplaced === isReplaced && student.apart === apart) return;
    Object.assign(student, { isReplaced, apart });
    student.version += 1;
    this.version += 1;
  }

  #student(said) {
    const key = keyOf(said);
    let student = this.students.get(key);
    if (student === undefined) {
      if (this.students.size >= STUDENTS_MAX) {
        this.refused += 1;
        return null;
      }
      student = new Student(key, said.group, said.source);
      this.students.set(key, student);
    }
    return student;
  }
}

/**
 * Mean and standard deviation over the students who have valid values: `{ mean, spread, count }`.
 * Of fewer than VALID_MIN it is null: a mean of one is that one's value.
 */
export function classMean(students, what, with_unknown, now_s) {
  const means = students
    .filter((student) => student.presence(now_s) === "online" && !student.isDoubtful)
    .map((student) => student.mean(what, with_unknown))
    .filter((mean) => mean !== null);
  const count = means.length;
  if (count < VALID_MIN) return { mean: null, spread: null, count };
  const mean = means.reduce((sum, each) => sum + each, 0) / count;
  const squares = means.reduce((sum, each) => sum + (each - mean) ** 2, 0);
  return { mean, spread: Math.sqrt(squares / (count - 1)), count };
}

function keyOf({ group, source }) {
  return `${group}/${source}`;
}
