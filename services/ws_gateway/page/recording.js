/** The way of one student's readings to the gateway: session after session, each reading kept until it is on disk. */
import { ofSchool } from "./folder.js";
import { IndexedDbStore, NeuroOneStudent } from "./neuroone.js";
import { addressFor } from "./who.js";

/** Close code: another window goes on with this session. */
const RESUMED_ELSEWHERE = 4001;
/** States in which what waits is on its way. */
const STILL_SENDING = new Set(["trying", "on"]);
/** So often the store is asked how much of earlier sessions waits. */
const COUNT_PERIOD_MS = 3000;
/** A network that is away closes nothing: the next session's connection waits no longer. */
const CLOSED_WITHIN_MS = 2000;
/** Blocks of raw samples that wait until it is told whether the lesson wants them: ten seconds. */
const BLOCKS_MAX = 80;
/** So long a connection may take before anybody is worried. */
const WORRY_MS = 3000;
/** Readings whose time is known until they are recorded: as many as the client keeps. */
const TIMES_MAX = 10_000;
/** The ends of the connections of this page that are open. */
const SOCKETS = new Set();

/**
 * Send readings, and tell how far they are recorded. `changed` events come whenever there is something to show.
 *
 * `state`: `trying`, `on`, `door.ask`, `door.closed`, `door.removed`, `refused` (the key is wrong) or `taken` (another
 * window goes on with the session).
 */
export class Recording extends EventTarget {
  state = "trying";
  /** Whether a recorder is there; null while nobody has said so. */
  hasRecorder = null;
  /** What the gateway says is wrong. */
  fault = "";
  /** True once this device could not keep a reading: those that wait are in memory only. */
  isStoreBroken = false;
  /** When the present session's first reading came, and the last one that is on disk; null: none yet. Time of day, ms. */
  beganMs = null;
  recordedMs = null;
  /** Readings that other sessions of this student left on this device. */
  #left = 0;
  #gateway;
  #who;
  #store = new IndexedDbStore(ofSchool("neuroone"));
  #student = null;
  /** The session before, while it sends what the database did not take. */
  #draining = null;
  #changes = Promise.resolve();
  /** When each reading that is not recorded yet was made, by seq. */
  #times = new Map();
  #blocks = [];
  #isRawTold = false;
  #triesSinceMs = performance.now();
  #isToBegin = false;
  #dropped = 0;
  #counting = null;

  constructor(gateway, who) {
    super();
    this.#gateway = gateway;
    this.#who = who;
  }

  /** Connect, and go on with the session of a page that was loaded anew just now, if it left readings. */
  async start() {
    const mine = this.#make();
    this.#counting ??= setInterval(() => this.#left > 0 && this.state === "on" && this.#count(), COUNT_PERIOD_MS);
    this.#count();
    await closed(); // of a recording before, which has just ended
    if (this.#student !== mine) return;
    await mine.start();
    for (const [seq, { time }] of mine.kept) this.#times.set(seq, Date.parse(time));
  }

  /** Let the next reading begin a new session: the link to the headset was lost. */
  breakOff() {
    this.#isToBegin = true;
    this.beganMs = null;
    this.#blocks = [];
  }

  /** Send a reading of this moment; return it with its time. */
  send(values) {
    const now = Date.now();
    const before = this.#student;
    if (this.#isToBegin) this.#make();
    this.#isToBegin = false;
    this.beganMs ??= now;
    const reading = { time: new Date(now).toISOString().replace("Z", "000Z"), ...values };
    const seq = this.#student.send(reading);
    if (seq !== null) this.#times.set(seq, now);
    if (this.#times.size > TIMES_MAX) this.#times.delete(this.#times.keys().next().value);
    const next = this.#student;
    if (next !== before) this.#changes = this.#changes.then(() => this.#follow(before, next));
    return reading;
  }

  /** Send raw samples, if the lesson wants them. The first ones of a session wait until that is told. */
  sendRaw(block) {
    if (this.#isRawTold && !this.#isToBegin) {
      this.#student.sendRaw(block);
      return;
    }
    this.#blocks.push(block);
    if (this.#blocks.length > BLOCKS_MAX) this.#blocks.shift();
  }

  /** True while there has been no connection for a moment. */
  get isAway() {
    return this.state === "trying" && performance.now() - this.#triesSinceMs > WORRY_MS;
  }

  /** Go on with the session here, which another window has taken. */
  resume() {
    this.state = "trying";
    this.#student.start();
    this.#changed();
  }

  /** Readings of this student that are not on disk yet. */
  get waiting() {
    return (this.#student?.waiting ?? 0) + (this.#draining?.waiting ?? 0) + this.#left;
  }

  /** Readings that were lost because too many waited. */
  get dropped() {
    return this.#dropped + (this.#student?.dropped ?? 0);
  }

  /** Close the connection. What still waits stays on this device, and is sent when the page is opened again. */
  stop() {
    clearInterval(this.#counting);
    this.#draining?.stop();
    this.#student?.stop();
    this.#student = this.#draining = null;
  }

  #make() {
    const { name, code, key } = this.#who;
    const mine = new NeuroOneStudent(addressFor(this.#gateway, key), {
      name, code: code || null, token: key || undefined, acks: "recorded", store: this.#store, WebSocket: Watched,
    });
    this.#dropped += this.#student?.dropped ?? 0;
    this.#student = mine;
    this.#times = new Map();
    this.#isRawTold = false;
    this.#triesSinceMs = performance.now();
    const hear = (type, handle) => mine.addEventListener(type, ({ detail }) => {
      if (mine !== this.#student) return;
      handle(detail);
      this.#changed();
    });
    hear("welcome", () => {
      this.state = "on";
      this.fault = "";
    });
    hear("door", ({ state }) => (this.state = `door.${state}`));
    hear("close", ({ code: why }) => {
      if (this.state === "on") this.#triesSinceMs = performance.now();
      if (this.state !== "refused") this.state = why === RESUMED_ELSEWHERE ? "taken" : "trying";
    });
    hear("link", ({ recorder }) => (this.hasRecorder = recorder === true));
    hear("raw_wanted", () => this.#onRawTold(this.#blocks));
    hear("ack", ({ stage, seq }) => {
      if (!this.#isRawTold) this.#onRawTold([]); // it would have been told before
      if (stage === "recorded" && seq !== undefined) this.#onRecorded(seq);
    });
    hear("error", ({ code: why, message }) => {
      if (why === "no_join_code") {
        this.state = "refused";
        mine.stop(); // until somebody enters another key
      } else {
        this.fault = String(message);
      }
    });
    hear("storefault", () => (this.isStoreBroken = true));
    return mine;
  }

  /** Start the next session's connection. One before that could not store its readings has to send them first. */
  async #follow(before, next) {
    if (this.isStoreBroken && before.waiting > 0 && STILL_SENDING.has(this.state)) {
      this.#draining = before;
      await new Promise((resolve) => {
        const check = () => (before.waiting === 0 || this.#draining !== before) && resolve();
        before.addEventListener("ack", () => queueMicrotask(check));
        before.addEventListener("close", check);
      });
    }
    before.stop();
    await closed();
    if (this.#student !== null && (next === this.#student || this.isStoreBroken)) await next.start();
    this.#draining = null;
    this.#count();
  }

  #onRawTold(wanted) {
    this.#isRawTold = true;
    this.#blocks = [];
    for (const block of wanted) this.#student.sendRaw(block);
  }

  #onRecorded(lastSeq) {
    for (const [seq, time] of this.#times) {
      if (seq > lastSeq) break;
      this.recordedMs = Math.max(this.recordedMs ?? 0, time);
      this.#times.delete(seq);
    }
  }

  async #count() {
    const { name, code } = this.#who;
    const { readings } = await this.#store.load().catch(() => ({ readings: [] }));
    const isLeft = (each) => each.name === name && each.code === (code || null) && each.session !== this.#student?.session;
    const left = readings.filter(isLeft).length;
    if (left === this.#left) return;
    this.#left = left;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("changed"));
  }
}

/** Wait until the connections are closed at the gateway: with two at a time the student would be two. */
async function closed() {
  const late = new Promise((resolve) => setTimeout(resolve, CLOSED_WITHIN_MS));
  await Promise.race([Promise.all(SOCKETS), late]);
}

/** A WebSocket whose end is known. */
class Watched extends WebSocket {
  constructor(...given) {
    super(...given);
    const over = new Promise((resolve) => this.addEventListener("close", resolve));
    SOCKETS.add(over);
    over.then(() => SOCKETS.delete(over));
  }
}
