/**
 * What the page knows of the class, without a screen: who is there, how each headset sits, what is valid, what is wrong.
 *
 * eSense is valid only while `poor_signal` is 0; while it is above 0 the headset repeats its last value, and an eSense of
 * 0 means "not computed". Neither enters a mean. `poor_signal` null: the app does not say. Times are seconds of one
 * steady clock.
 */
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
  /** When the last reading came. */
  heard_s = -Infinity;
  rows = null;
  gaps = 0;
  /** Raised whenever something is to be shown anew. */
  version = 0;
  history = new Ring(HISTORY_ROWS, {
    time: Float64Array, attention: Uint8Array, meditation: Uint8Array, poor: Int16Array,
  });
  bands = new Ring(BAND_ROWS, {
    time: Float64Array, ...Object.fromEntries(BANDS.map((band) => [band, Uint32Array])),
  });
  #poor_since = null;
  #zeros_since = null;
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
    this.reading = reading;
    this.heard_s = now_s;
    this.status = "online";
    const time = Date.parse(reading.time) / 1000;
    const poor = reading.poor_signal ?? UNSAID;
    this.history.push({ time, attention: reading.attention, meditation: reading.meditation, poor });
    this.bands.push({ ...reading, time });
    this.#poor_since = poor > 0 ? (this.#poor_since ?? now_s) : null;
    const zeros = !reading.attention && !reading.meditation && BANDS.every((band) => !reading[band]);
    this.#zeros_since = zeros ? (this.#zeros_since ?? now_s) : null;
    this.version += 1;
  }

  takeState(state) {
    this.id = state.id ?? this.id;
    this.name = state.name;
    this.code = state.code;
    this.status = state.status;
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

  /** What is wrong for longer than a moment: "offline", "contact", "zeros", or null. */
  trouble(now_s, watching_since_s) {
    if (now_s - Math.max(this.heard_s, watching_since_s) > ALARM_AFTER_S) return "offline";
    if (this.presence(now_s) !== "online") return null;
    if (this.#poor_since !== null && now_s - this.#poor_since > ALARM_AFTER_S) return "contact";
    return this.#zeros_since !== null && now_s - this.#zeros_since > ALARM_AFTER_S ? "zeros" : null;
  }

  /** Whether somebody should look at the headset: 0 at once, 1 soon, 2 not. */
  need(now_s) {
    if (this.presence(now_s) !== "online" || this.#zeros_since !== null) return 0;
    return { off: 0, poor: 0, adjusting: 1 }[this.contact] ?? 2;
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
      if (value > 0 && (poor === 0 || (with_unknown && poor === UNSAID))) {
        sum += value;
        count += 1;
      }
    }
    return count ? sum / count : null;
  }
}

/** Everybody, by class. */
export class Classroom {
  students = new Map();
  /** The session that runs in each class: `{ name, since }`. */
  sessions = new Map();
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
    if (event.event === "session_start") {
      this.sessions.set(event.group, { name: event.text, since: Date.parse(event.time) });
    } else if (event.event === "session_stop") {
      this.sessions.delete(event.group);
    }
    this.version += 1;
  }

  /** The classes: group to code, as it was typed (null: none). */
  groups() {
    const groups = new Map();
    for (const { group, code } of this.students.values()) if (!groups.has(group)) groups.set(group, code);
    for (const group of this.sessions.keys()) if (!groups.has(group)) groups.set(group, group);
    return groups;
  }

  /** The students of a class, or of all ("") */
  of(group) {
    return [...this.students.values()].filter((student) => !group || student.group === group);
  }

  forgetTheLongGone(now_s) {
    for (const [key, student] of this.students) {
      if (now_s - student.heard_s > FORGET_AFTER_S) {
        this.students.delete(key);
        this.version += 1;
      }
    }
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

/** Mean and standard deviation over the students who have valid values: `{ mean, spread, count }`. */
export function classMean(students, what, with_unknown, now_s) {
  const means = students
    .filter((student) => student.presence(now_s) === "online")
    .map((student) => student.mean(what, with_unknown))
    .filter((mean) => mean !== null);
  const count = means.length;
  if (!count) return { mean: null, spread: null, count };
  const mean = means.reduce((sum, each) => sum + each, 0) / count;
  const squares = means.reduce((sum, each) => sum + (each - mean) ** 2, 0);
  return { mean, spread: count > 1 ? Math.sqrt(squares / (count - 1)) : null, count };
}

/** The trouble that a teacher has not seen to, each with whether it was acknowledged. */
export class Alarms {
  #alarms = new Map();

  /** Look at everybody; returns the alarms that are new. */
  look(students, now_s, watching_since_s) {
    const fresh = [];
    const present = new Set();
    for (const student of students) {
      const kind = student.trouble(now_s, watching_since_s);
      if (kind === null) continue;
      const key = `${kind} ${student.key}`;
      present.add(key);
      if (!this.#alarms.has(key)) {
        const alarm = { key, kind, student, acknowledged: false };
        this.#alarms.set(key, alarm);
        fresh.push(alarm);
      }
    }
    for (const key of this.#alarms.keys()) if (!present.has(key)) this.#alarms.delete(key);
    return fresh;
  }

  /** Those that nobody has acknowledged. */
  get open() {
    return [...this.#alarms.values()].filter((alarm) => !alarm.acknowledged);
  }

  acknowledge(key) {
    const alarm = this.#alarms.get(key);
    if (alarm) alarm.acknowledged = true;
  }

  acknowledgeAll() {
    for (const alarm of this.#alarms.values()) alarm.acknowledged = true;
  }
}

function keyOf({ group, source }) {
  return `${group}/${source}`;
}
