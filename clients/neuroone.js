/**
 * A client of the NeuroOne gateway, dialect `neuroone.v1` (docs/websocket.md). No dependencies; a browser or Node 22
 * (20 with --experimental-websocket).
 *
 *     const student = new NeuroOneStudent("wss://school.example/ws/", { name: "Ana", code: "ABC123" });
 *     student.start();
 *     student.send({ attention: 85, meditation: 72, delta: 1, ... });
 *
 * A reading is kept until the gateway has acknowledged it: over reconnects and, with IndexedDbStore, over reloads of
 * the page. It is sent again as its own student, with its own session and seq, so nothing is lost, nothing counts
 * twice, and nothing is recorded under another name (docs/decisions/0017).
 */

const SUBPROTOCOL = "neuroone.v1";
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;
/** A connection that lived this long was a good one: the next delay is short again. */
const SETTLED_AFTER_MS = 10_000;
/** A dead network closes no connection: the client looks so often, and when a time is over, whether it still works. */
const CHECK_PERIOD_MS = 1000;
/** Connecting may take this long, until the gateway's welcome. */
const WELCOME_WITHIN_MS = 8000;
/** The first try after a connection that fell silent may take this long only. It may hang although the network works
 * again: Node uses an idle connection of before, which is dead too. The next try is then still there within 15 s. */
const WELCOME_AFTER_SILENCE_MS = 2500;
/** What was sent must be acknowledged, or at least some of it, in this time. */
const ACKED_WITHIN_MS = 10_000;
/** The gateway sends `link` to dashboards every 5 s, at least every 10 s, and to everybody while its broker is away. */
const HEARD_WITHIN_MS = 11_000;
/** A connection that was heard this recently is not replaced when the page becomes visible. */
const FRESH_MS = 2000;
/** Readings of one session that may wait: three hours at one a second. Then the oldest is dropped and counted. */
const KEPT_MAX = 10_000;
/** Readings of earlier sessions in the store: about 15 MB. Then the oldest sessions are dropped and counted. */
const LEFTOVERS_MAX = 50_000;
/** A page that is loaded again in this time goes on with its session: a reload or a crash, not the next lesson. */
const RESUMED_WITHIN_MS = 600_000;
/** So often the store is searched for what other sessions left there. */
const LEFTOVERS_PERIOD_MS = 60_000;
/** A store that takes longer is not waited for: some browsers' databases hang. */
const STORE_WITHIN_MS = 3000;
/** Readings that are noted beside the database until it has them: a hundred seconds of a database that hangs. */
const NOTED_MAX = 100;
/** How long other tabs may take to say that a session is theirs. */
const CLAIM_WITHIN_MS = 500;
/** Raw blocks in memory: ten minutes of 8 a second, about 4 MB. Then the oldest is dropped and counted. */
const RAW_KEPT_MAX = 4800;
/** Blocks of an outage that are sent with each new one: ten minutes in 20 s. */
const RAW_RESENT = 32;
/** A recorder that lost the broker too is back so long after it, as for a bridge: brokers keep no raw blocks for it. */
const RECORDER_WAIT_MS = 15_000;
const RAW_BLOCK_SAMPLES = 64;
const RAW_LOW = -32_768;
const RAW_HIGH = 32_767;
const RATE_MAX_HZ = 65_535;
/** Samples that a page may have numbered between the last reading it stored and its end, beside those of that time. */
const RAW_MARGIN_S = 1;
/** The gateway takes no longer message. */
const MESSAGE_MAX_BYTES = 8192;
const NORMAL = 1000;
const ABNORMAL = 1006;
/** Close code: another connection resumed the session. The only one after which the client does not reconnect. */
const RESUMED_ELSEWHERE = 4001;
const BAND_MAX = 16_777_215;
/** The largest value of each number of a reading; the smallest is 0. */
const RANGES = {
  attention: 100, meditation: 100, delta: BAND_MAX, theta: BAND_MAX, low_alpha: BAND_MAX, high_alpha: BAND_MAX,
  low_beta: BAND_MAX, high_beta: BAND_MAX, low_gamma: BAND_MAX, mid_gamma: BAND_MAX,
};
const POOR_SIGNAL_MAX = 255;
/** What a client measures time and waits with: a steady clock, the time of day (both in ms), timers. */
const CLOCK = {
  now: () => performance.now(),
  time: () => Date.now(),
  setTimeout: (call, ms) => setTimeout(call, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/**
 * Return the delay before try number `attempt` in ms: doubled each time, capped, and 50 to 100 % of that, so that a
 * class spreads.
 */
export function delayMs(attempt, random = Math.random) {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 16));
  return full * (0.5 + 0.5 * random());
}

/** Keep readings in memory: they survive a lost connection, but not a reload. Several students may share one. */
export class MemoryStore {
  /** The readings of each session by their seq, rising. */
  #sessions = new Map();
  #claimed = new Set();
  #session = null;

  /** What was put and not dropped; each reading with its session and its student's name and code. */
  async load() {
    const readings = [...this.#sessions.values()].flatMap((session) => [...session.values()]);
    return { session: this.#session, readings };
  }

  async begin(session) {
    this.#session = session;
  }

  async put(reading) {
    const session = reading.session ?? this.#session;
    if (!this.#sessions.has(session)) this.#sessions.set(session, new Map());
    this.#sessions.get(session).set(reading.seq, reading);
  }

  async drop(seq, session = this.#session) {
    this.#sessions.get(session)?.delete(seq);
  }

  async dropUpTo(seq, session = this.#session) {
    const readings = this.#sessions.get(session) ?? new Map();
    for (const kept of readings.keys()) {
      if (kept > seq) break;
      readings.delete(kept);
    }
    if (readings.size === 0) this.#sessions.delete(session);
  }

  /** Take a session, if nobody has it: only who has it may send its readings. */
  async claim(session) {
    if (this.#claimed.has(session)) return false;
    this.#claimed.add(session);
    return true;
  }

  async release(session) {
    this.#claimed.delete(session);
  }
}

/** Keep readings in IndexedDB: they survive a reload and a crash of the browser. All tabs of a site share one. */
export class IndexedDbStore {
  #name;
  #opened = null;
  #session = null;
  /** The sessions that this page has, and how each is released. */
  #claimed = new Map();
  #channel = null;

  constructor(name = "neuroone") {
    this.#name = name;
  }

  /** False where the browser has no Web Locks (plain http): two tabs that start at once may both get a session. */
  get isClaimSure() {
    return globalThis.navigator?.locks !== undefined;
  }

  async load() {
    const readings = await this.#run("readonly", (store) => store.getAll());
    const keyOf = ({ session, seq }) => `${session} ${seq}`;
    const stored = new Set(readings.map(keyOf));
    const noted = this.#sessionsWithNotes().flatMap((session) => this.#notes(session));
    readings.push(...noted.filter((reading) => !stored.has(keyOf(reading))));
    return { session: readings.at(-1)?.session ?? null, readings };
  }

  async begin(session) {
    this.#session = session;
  }

  /** Note a reading at once, until it is put: the database takes a moment, in which a reload would lose it. */
  note(reading) {
    const { session } = reading;
    this.#writeNotes(session, [...this.#notes(session), reading].slice(-NOTED_MAX));
  }

  async put(reading) {
    const { session, seq } = { session: this.#session, ...reading };
    await this.#run("readwrite", (store) => store.put({ ...reading, session }));
    this.#dropNotes(session, (each) => each.seq === seq);
  }

  async drop(seq, session = this.#session) {
    this.#dropNotes(session, (each) => each.seq === seq);
    await this.#run("readwrite", (store) => store.delete([session, seq]));
  }

  async dropUpTo(seq, session = this.#session) {
    this.#dropNotes(session, (each) => each.seq <= seq);
    await this.#run("readwrite", (store) => store.delete(IDBKeyRange.bound([session, 0], [session, seq])));
  }

  async claim(session) {
    if (this.#claimed.has(session)) return false;
    this.#claimed.set(session, () => {});
    let isMine = false;
    try {
      isMine = await (this.isClaimSure ? this.#lock(session) : this.#ask(session));
    } finally {
      if (!isMine) this.#claimed.delete(session);
    }
    return isMine;
  }

  async release(session) {
    const end = this.#claimed.get(session);
    this.#claimed.delete(session);
    await end?.();
  }

  get #notesPrefix() {
    return `${this.#name} `;
  }

  #sessionsWithNotes() {
    const prefix = this.#notesPrefix;
    try {
      return Object.keys(localStorage).filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
    } catch {
      return []; // no storage
    }
  }

  /** Return what is noted of a session, in the order of seq. */
  #notes(session) {
    try {
      const notes = JSON.parse(localStorage.getItem(this.#notesPrefix + session));
      return Array.isArray(notes) ? notes.filter((each) => each?.session === session && Number.isInteger(each.seq)) : [];
    } catch {
      return []; // no storage, or not what this page wrote
    }
  }

  #dropNotes(session, isDone) {
    const notes = this.#notes(session);
    if (notes.length > 0) this.#writeNotes(session, notes.filter((each) => !isDone(each)));
  }

  #writeNotes(session, notes) {
    try {
      if (notes.length > 0) localStorage.setItem(this.#notesPrefix + session, JSON.stringify(notes));
      else localStorage.removeItem(this.#notesPrefix + session);
    } catch {
      // it is full: the database has to do
    }
  }

  /** Hold a Web Lock, which the browser releases when the page is gone, however it ended. */
  #lock(session) {
    return new Promise((resolve, reject) => {
      const held = navigator.locks.request(`neuroone ${this.#name} ${session}`, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        if (lock === null) return null;
        // Who stops and starts at once must get the session again: a release is over when the browser has done it.
        return new Promise((end) => this.#claimed.set(session, () => (end(), held)));
      });
      held.catch(reject);
    });
  }

  /** Ask the other tabs whether one of them has this session. */
  async #ask(session) {
    if (this.#channel === null) {
      this.#channel = new BroadcastChannel(`neuroone ${this.#name}`);
      this.#channel.unref?.(); // Node would not end
      this.#channel.addEventListener("message", ({ data }) => {
        if (this.#claimed.has(data.wanted)) this.#channel.postMessage({ taken: data.wanted });
      });
    }
    return new Promise((resolve) => {
      const hear = ({ data }) => data.taken === session && answer(false);
      const timer = setTimeout(() => answer(true), CLAIM_WITHIN_MS);
      const answer = (isMine) => {
        clearTimeout(timer);
        this.#channel.removeEventListener("message", hear);
        resolve(isMine);
      };
      this.#channel.addEventListener("message", hear);
      this.#channel.postMessage({ wanted: session });
    });
  }

  #open() {
    this.#opened ??= new Promise((resolve, reject) => {
      indexedDB.deleteDatabase(this.#name); // the first layout, which did not say whose its readings are
      const request = indexedDB.open(`${this.#name}.2`, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("readings", { keyPath: ["session", "seq"] });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return this.#opened;
  }

  async #run(mode, work) {
    const database = await this.#open();
    return new Promise((resolve, reject) => {
      const transaction = database.transaction("readings", mode);
      const request = work(transaction.objectStore("readings"));
      transaction.oncomplete = () => resolve(request.result); // a full disk shows here, not at the request
      transaction.onabort = () => reject(transaction.error ?? request.error);
    });
  }
}

/**
 * Connect, send hello, and reconnect when the connection is lost or dead. Messages arrive as events of their `type`.
 * Only the present socket counts: what an earlier one still reports is ignored.
 */
class NeuroOneClient extends EventTarget {
  #url;
  #WebSocket;
  #random;
  #socket = null;
  #isHelloSent = false;
  #openedAt = 0;
  #welcomeWithin = WELCOME_WITHIN_MS;
  #heardAt = 0;
  /** Since when something that was sent waits for its ack, without any progress. */
  #unackedSince = null;
  #markers = new Set();
  #hasBroker = true;
  #attempt = 0;
  #timer = null;
  #isStopped = true;
  /** Connections given up between hello and welcome: if the network delivers that hello late, it takes the session. */
  #ghosts = 0;

  constructor(url, { WebSocket = globalThis.WebSocket, clock = CLOCK, random = Math.random } = {}) {
    super();
    this.#url = url;
    this.#WebSocket = WebSocket;
    this.clock = clock;
    this.#random = random;
  }

  /** True once the gateway has answered hello on the present connection. */
  isWelcome = false;

  /** Connect now, and again whenever the connection is lost. */
  start() {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    this.#attempt = 0;
    globalThis.addEventListener?.("online", this.#onOnline);
    globalThis.document?.addEventListener("visibilitychange", this.#onVisible);
    this.#connect();
  }

  /** Close the connection and do not reconnect. */
  stop() {
    this.#isStopped = true;
    globalThis.removeEventListener?.("online", this.#onOnline);
    globalThis.document?.removeEventListener("visibilitychange", this.#onVisible);
    this.#leave(NORMAL);
  }

  /** Mark a moment; `marker.id` comes back in the `ack` event. Returns false while there is no connection. */
  mark(marker) {
    if (!this.write({ ...marker, type: "marker" })) return false;
    this.#markers.add(marker.id);
    this.expectAck();
    return true;
  }

  write(message) {
    if (!this.isWelcome) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  expectAck() {
    this.#unackedSince ??= this.clock.now();
  }

  #connect(welcomeWithin = WELCOME_WITHIN_MS) {
    this.#welcomeWithin = welcomeWithin;
    const socket = new this.#WebSocket(this.#url, SUBPROTOCOL);
    const ifPresent = (handle) => (event) => socket === this.#socket && handle(event);
    this.#socket = socket;
    this.#openedAt = this.#heardAt = this.clock.now();
    this.#unackedSince = null;
    this.#markers.clear();
    this.#hasBroker = true;
    this.#isHelloSent = false;
    socket.onopen = ifPresent(() => {
      socket.send(JSON.stringify({ type: "hello", ...this.hello() }));
      this.#isHelloSent = true;
    });
    socket.onmessage = ifPresent(({ data }) => this.#onMessage(data));
    // onclose follows, but in Node 20 not for a connection that was refused.
    socket.onerror = ifPresent(() => {
      if (socket.readyState === 0) this.#onLost(ABNORMAL);
    });
    socket.onclose = ifPresent(({ code }) => {
      this.#isHelloSent = false; // nothing of it is under way any more
      this.#onLost(code);
    });
    this.#check();
  }

  #check() {
    const wait = Math.min(CHECK_PERIOD_MS, this.#deadAt() - this.clock.now());
    this.#timer = this.clock.setTimeout(() => {
      if (this.clock.now() >= this.#deadAt()) {
        this.#onLost(ABNORMAL, this.isWelcome ? WELCOME_AFTER_SILENCE_MS : WELCOME_WITHIN_MS);
      } else {
        this.checked();
        this.#check();
      }
    }, Math.max(0, wait));
  }

  /** The time at which the connection counts as dead, if nothing comes until then. */
  #deadAt() {
    if (!this.isWelcome) return this.#heardAt + this.#welcomeWithin;
    const isAckDue = this.#hasBroker && this.#unackedSince !== null;
    const isWordDue = this.isToldOften || !this.#hasBroker;
    return Math.min(
      isAckDue ? this.#unackedSince + ACKED_WITHIN_MS : Infinity,
      isWordDue ? this.#heardAt + HEARD_WITHIN_MS : Infinity,
    );
  }

  #onMessage(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      // not of this dialect
    }
    if (typeof message?.type !== "string") return;
    this.#heardAt = this.clock.now();
    if (message.type === "welcome") {
      this.isWelcome = true;
      this.welcomed(message);
    } else if (message.type === "door") { // comes every 5 s until the teacher lets the student in
      this.#welcomeWithin = HEARD_WITHIN_MS;
      this.keptOut();
    } else if (message.type === "ack") {
      this.#markers.delete(message.marker);
      this.acked(message);
      this.#onProgress();
    } else if (message.type === "error") {
      this.#markers.clear();
      this.refused(message);
      this.#onProgress();
    } else if (message.type === "link" && message.broker !== this.#hasBroker) {
      this.#hasBroker = message.broker;
      this.#onProgress();
    }
    this.told(message);
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  #onProgress() {
    this.#unackedSince = this.#markers.size > 0 || this.isOwedAck() ? this.clock.now() : null;
  }

  /** Give up the present socket. The gateway may never hear of it: nothing that comes from it counts any more. */
  #leave(code) {
    this.clock.clearTimeout(this.#timer);
    const socket = this.#socket;
    if (socket === null) return;
    this.#ghosts += this.#isHelloSent && !this.isWelcome;
    this.#socket = null;
    this.isWelcome = false;
    socket.close(NORMAL);
    queueMicrotask(() => this.dispatchEvent(new CustomEvent("close", { detail: { code } })));
  }

  #onLost(code, welcomeWithin = WELCOME_WITHIN_MS) {
    const now = this.clock.now();
    // After a connection that worked the wait begins now, else it began with the try, which may have taken long itself.
    const since = this.isWelcome ? now : this.#openedAt;
    if (this.isWelcome && now - this.#openedAt > SETTLED_AFTER_MS) this.#attempt = 0;
    this.#leave(code);
    if (!this.#isToReconnect(code)) {
      this.stop();
      return;
    }
    const wait = since + delayMs(this.#attempt, this.#random) - now;
    this.#attempt += 1;
    this.#timer = this.clock.setTimeout(() => this.#connect(welcomeWithin), Math.max(0, wait));
  }

  #isToReconnect(code) {
    if (!this.isPersistent) return false;
    if (code !== RESUMED_ELSEWHERE) return true;
    if (this.#ghosts === 0) return false;
    this.#ghosts -= 1; // it was an earlier connection of our own, and the network carries again
    this.#attempt = 0;
    return true;
  }

  #onOnline = () => this.#reconnectSoon();

  #onVisible = () => {
    const isFresh = this.#socket !== null && this.clock.now() - this.#heardAt < FRESH_MS;
    if (globalThis.document.visibilityState === "visible" && !isFresh) this.#reconnectSoon();
  };

  #reconnectSoon() {
    if (!this.isPersistent) {
      this.stop();
      return;
    }
    this.#attempt = 0;
    this.#leave(ABNORMAL);
    this.#timer = this.clock.setTimeout(() => this.#connect(), delayMs(0, this.#random));
  }

  /** Whether the gateway promises to send something at least every 10 s. */
  isToldOften = false;

  isPersistent = true;

  welcomed(_message) {}

  keptOut() {}

  acked(_message) {}

  refused(_message) {}

  told(_message) {}

  checked() {}

  isOwedAck() {
    return false;
  }
}

/** Send the readings of one student and session, and keep each until it is acknowledged. */
class SessionClient extends NeuroOneClient {
  #sentSeq = -1;
  #ackedSeq = -1;
  #doneSeq = -1;
  #isDropping = false;

  constructor(url, { who, session, kept, store, ...options }) {
    super(url, options);
    this.who = who;
    this.session = session;
    this.kept = kept;
    this.store = store;
  }

  hello() {
    return { role: "student", ...this.who, session: this.session };
  }

  welcomed() {
    this.#sentSeq = this.#ackedSeq = -1;
    this.sendUpTo(Infinity);
  }

  sent(_seq) {}

  /** Send what was not sent yet on this connection. */
  sendUpTo(lastSeq) {
    for (const [seq, reading] of this.kept) {
      if (seq <= this.#sentSeq) continue;
      if (seq > lastSeq || !this.write({ ...reading, type: "reading" })) return;
      this.#sentSeq = seq;
      this.sent(seq);
      this.expectAck();
    }
  }

  acked({ stage, seq }) {
    if (seq === undefined) return;
    this.#ackedSeq = Math.max(this.#ackedSeq, seq);
    if (stage !== this.who.acks) return;
    for (const kept of this.kept.keys()) {
      if (kept > seq) break;
      this.kept.delete(kept);
    }
    this.#doneSeq = seq;
    if (this.#isDropping) return; // with the next change of the store: acks come faster than it works
    this.#isDropping = true;
    const { session } = this;
    this.save(() => {
      this.#isDropping = false;
      return this.store.dropUpTo(this.#doneSeq, session);
    });
  }

  /** Drop a reading that the gateway does not accept, so that it is not sent again; the event has it as `reading`. */
  refused(message) {
    const reading = this.kept.get(message.seq);
    if (reading === undefined) return;
    message.reading = reading;
    this.kept.delete(message.seq);
    this.save(() => this.store.drop?.(message.seq, this.session));
  }

  isOwedAck() {
    for (const seq of this.kept.keys()) if (seq > this.#ackedSeq) return seq <= this.#sentSeq;
    return false;
  }

  #saved = Promise.resolve();

  /** Change the store, one change after the other. A fault of it is reported, and holds up nothing. */
  save(work) {
    this.#saved = this.#saved.then(work).catch((error) => this.reportStore(error));
    return this.#saved;
  }

  reportStore(error) {
    this.dispatchEvent(new CustomEvent("storefault", { detail: error }));
  }
}

/** Deliver what an earlier session left in the store, as the student that made it. It tries once. */
class Courier extends SessionClient {
  isPersistent = false;

  /** Go, and try again later: no teacher is to be asked for somebody who is not there. */
  keptOut() {
    this.stop();
  }

  acked(message) {
    super.acked(message);
    if (this.kept.size === 0) this.stop();
  }

  refused(message) {
    super.refused(message);
    if (this.kept.size === 0) this.stop();
  }
}

/**
 * Keep raw blocks in memory until the broker is known to have them: they have no ack. When a reading that was sent
 * later is acknowledged, they have arrived too. What is not proven when a connection ends is sent again.
 */
class RawBacklog {
  dropped = 0;
  #kept = [];
  /** How many of them were sent on this connection. */
  #sent = 0;
  /** The readings that are not acknowledged yet: their seq, and the last block that was sent before. */
  #marks = [];

  put(block) {
    this.#kept.push(block);
    if (this.#kept.length > RAW_KEPT_MAX) {
      this.#kept.shift();
      if (this.#sent > 0) this.#sent -= 1;
      else this.dropped += 1;
    }
  }

  /** Send blocks with `write`, which returns false while there is no connection. */
  send(write, most) {
    const end = Math.min(this.#kept.length, this.#sent + most);
    while (this.#sent < end && write(this.#kept[this.#sent])) this.#sent += 1;
  }

  /** Note that a reading was sent now. */
  onReading(seq) {
    if (this.#sent > 0) this.#marks.push([seq, this.#kept[this.#sent - 1].seq]);
  }

  onAck(seq) {
    let proven = -1;
    while (this.#marks.length > 0 && this.#marks[0][0] <= seq) [, proven] = this.#marks.shift();
    const next = this.#kept.findIndex((block) => block.seq > proven);
    this.#forget(next === -1 ? this.#kept.length : next);
  }

  /** Send all that is not proven again: the connection has ended, or the gateway's own. */
  rewind() {
    this.#sent = 0;
    this.#marks = [];
  }

  /** Drop everything: the lesson does not want it any more. */
  clear() {
    this.dropped += this.#kept.length - this.#sent;
    this.#forget(this.#kept.length);
  }

  #forget(count) {
    this.#kept.splice(0, count);
    this.#sent = Math.max(0, this.#sent - count);
  }
}

/**
 * A student's app: send readings, and keep each until it is acknowledged. While the door of a lesson keeps the student
 * out, `door` events come instead of `welcome`, with `state` "ask", "closed" or "removed": show it to the student. A
 * `raw_wanted` event says with `wanted` whether the lesson wants raw samples; `sendRaw` sends them only then.
 */
export class NeuroOneStudent extends SessionClient {
  #url;
  #options;
  #seq = 0;
  #starts = 0;
  #resumes;
  #isBegun = false;
  #isClaimed = false;
  #claims = Promise.resolve();
  #courier = null;
  #isDelivering = false;
  #searchedAt = -Infinity;
  #raw = new RawBacklog();
  #hasBroker = true;
  /** Until then raw blocks wait for the recorder, which comes back after the broker. */
  #rawFrom = -Infinity;
  /** Whether the lesson wants raw samples, as it was said last, and whether that was on this connection. */
  #isRawWanted = false;
  #isRawTold = false;
  #rawSeq = 0;
  /** The number of the block's first sample in the session, where a page that was loaded again counts from 0. */
  #rawBase = 0;
  /** What the store keeps of raw samples, for a page that is loaded again: the next number, and the rate. */
  #rawNext = null;

  /** Readings that were dropped because too many waited. */
  dropped = 0;

  /**
   * `token` is the class's join code, if any. With `acks` "recorded" readings are kept until they are on disk. A
   * student goes on with a session that left readings in the store just now, as a page does that is loaded again; not
   * with `resumes: false`, after a headset's link was lost: then those are sent, and a new session begins.
   */
  constructor(url, { name, code, token, acks = "broker", store = new MemoryStore(), resumes = true, ...options } = {}) {
    const who = { name: name ?? null, code: code ?? null, acks };
    if (token !== undefined) who.token = token;
    super(url, { who, session: newId(), kept: new Map(), store, ...options });
    this.#url = url;
    this.#options = options;
    this.#resumes = resumes;
  }

  /** Readings that the gateway has not acknowledged yet. */
  get waiting() {
    return this.kept.size;
  }

  /** Raw blocks that were wanted and dropped: too many waited, or the lesson ended meanwhile. */
  get rawDropped() {
    return this.#raw.dropped;
  }

  /** Load what an earlier page left in the store, then connect. */
  async start() {
    this.#starts += 1;
    const mine = this.#starts;
    await this.#inTurn(() => this.#claim());
    if (mine === this.#starts) super.start();
  }

  stop() {
    this.#starts += 1;
    this.sendUpTo(Infinity);
    this.#rawFrom = -Infinity;
    this.#sendRaw(Infinity);
    super.stop();
    this.#courier?.stop();
    this.#inTurn(() => this.#release());
  }

  /**
   * Send a reading of this moment: attention, meditation, the eight bands and, if known, poor_signal. Returns its seq.
   * A bad one is not sent: it returns null, and the `error` event says why.
   */
  send(values) {
    const reading = { time: this.#utcNow(), ...values, seq: this.#seq };
    const [field, message] = faultOf(reading) ?? [];
    if (message !== undefined) {
      const detail = { type: "error", code: "bad_value", field, message, reading };
      this.dispatchEvent(new CustomEvent("error", { detail }));
      return null;
    }
    this.#seq += 1;
    this.kept.set(reading.seq, reading);
    const { session, who } = this;
    const raw = this.#rawNext === null ? {} : { raw: this.#rawNext };
    const kept = { ...reading, session, ...who, ...raw };
    this.store.note?.(kept);
    this.save(() => this.store.put(kept)).then(() => this.sendUpTo(reading.seq));
    if (this.kept.size > KEPT_MAX) {
      const oldest = this.kept.keys().next().value;
      this.kept.delete(oldest);
      this.dropped += 1;
      this.save(() => this.store.dropUpTo(oldest, session));
    }
    return reading.seq;
  }

  /**
   * Send a block of raw samples of `raw_blocks.js`, if the lesson wants it: `first_sample`, `time`, `rate_hz`,
   * `measured_hz`, `samples`. While the connection is away it waits in memory. Returns its seq, or null: not wanted, or
   * a bad one, of which the `error` event says why.
   */
  sendRaw(block) {
    const [field, message] = rawFaultOf(block) ?? [];
    if (message !== undefined) {
      const detail = { type: "error", code: "bad_value", field, message, block };
      this.dispatchEvent(new CustomEvent("error", { detail }));
      return null;
    }
    if (!this.#isRawWanted) return null;
    const seq = this.#rawSeq;
    const first = this.#rawBase + block.first_sample;
    this.#rawSeq += 1;
    this.#rawNext = [first + block.samples.length, block.rate_hz];
    this.#raw.put({ time: this.#utcNow(), ...block, first_sample: first, seq });
    this.#sendRaw(1 + RAW_RESENT);
    return seq;
  }

  #sendRaw(most) {
    if (!this.#isRawTold || !this.#hasBroker || this.clock.now() < this.#rawFrom) return;
    this.#raw.send((block) => this.write({ ...block, type: "raw" }), most);
  }

  sent(seq) {
    this.#raw.onReading(seq);
  }

  acked(message) {
    super.acked(message);
    if (message.stage === "broker" && message.seq !== undefined) this.#raw.onAck(message.seq);
    if (message.stage === "recorded") this.#rawFrom = -Infinity; // the recorder is there
  }

  told({ type, wanted, broker }) {
    if (type === "raw_wanted") {
      this.#isRawTold = true;
      this.#isRawWanted = wanted;
      if (wanted) this.#sendRaw(RAW_RESENT); // what waits goes after the readings that wait
      else this.#raw.clear();
    } else if (type === "link") {
      if (broker && !this.#hasBroker) this.#rawFrom = this.clock.now() + RECORDER_WAIT_MS;
      this.#hasBroker = broker;
      if (!broker) this.#raw.rewind();
      else if (!this.#isRawTold) this.#onUnwanted();
    }
  }

  /** Note that the gateway said nothing of raw samples between welcome and link: none are wanted. */
  #onUnwanted() {
    const wasWanted = this.#isRawWanted;
    this.told({ type: "raw_wanted", wanted: false });
    if (wasWanted) {
      this.dispatchEvent(new CustomEvent("raw_wanted", { detail: { type: "raw_wanted", wanted: false } }));
    }
  }

  welcomed(message) {
    this.#isRawTold = false;
    this.#raw.rewind();
    super.welcomed(message);
    this.#searchedAt = -Infinity;
    this.#deliverLeftovers();
  }

  checked() {
    this.sendUpTo(Infinity); // also what a hanging store has not taken
    this.#sendRaw(RAW_RESENT);
    if (this.clock.now() - this.#searchedAt > LEFTOVERS_PERIOD_MS) this.#deliverLeftovers();
  }

  /** Do what changes claims, in the order in which it was asked for. */
  #inTurn(work) {
    this.#claims = this.#claims.then(work).catch((error) => this.reportStore(error));
    return this.#claims;
  }

  async #claim() {
    if (this.#isClaimed) return;
    if (!this.#isBegun) {
      const earlier = await this.#leftovers();
      await this.#dropOldest(earlier);
      if (this.#resumes && (await this.#resume(earlier))) return;
    }
    if (!(await this.#inTime(this.store.claim?.(this.session), true))) {
      // Stopped, and another tab has gone on with this session meanwhile: what waits is in its store.
      this.session = newId();
      this.kept = new Map();
      this.#seq = 0;
      await this.#inTime(this.store.claim(this.session), true);
    }
    this.#isBegun = this.#isClaimed = true;
    this.save(() => this.store.begin(this.session));
  }

  async #release() {
    if (!this.#isClaimed) return;
    this.#isClaimed = false;
    await this.#inTime(this.store.release?.(this.session));
  }

  /** Go on with the session of a page that was this student's just now, if it left readings. */
  async #resume(sessions) {
    const { name, code } = this.who;
    const earlier = sessions.find(({ who }) => who.name === name && who.code === code);
    const isRecent = earlier !== undefined && this.clock.time() - Date.parse(earlier.lastTime) < RESUMED_WITHIN_MS;
    if (!isRecent || this.store.isClaimSure === false || !(await this.#take(earlier.session))) return false;
    if (this.#seq > 0) { // readings were made before or meanwhile, for the new session
      await this.store.release?.(earlier.session);
      return false;
    }
    this.session = earlier.session;
    this.kept = earlier.kept;
    this.#seq = [...earlier.kept.keys()].at(-1) + 1;
    if (earlier.raw !== undefined) {
      const [next, rate_hz] = earlier.raw;
      const awayS = Math.max(0, this.clock.time() - Date.parse(earlier.lastTime)) / 1000;
      // A block has a sample at least: a number of samples is a seq that no block had before.
      this.#rawBase = this.#rawSeq = next + Math.ceil((awayS + RAW_MARGIN_S) * rate_hz);
      this.#rawNext = [this.#rawBase, rate_hz];
    }
    this.#isBegun = this.#isClaimed = true;
    return true;
  }

  /** Claim the session of somebody else, who may be gone. */
  async #take(session) {
    return this.store.claim === undefined || this.#inTime(this.store.claim(session), false);
  }

  async #dropOldest(sessions) {
    let count = 0;
    for (const { session, kept } of sessions) {
      count += kept.size;
      if (count <= LEFTOVERS_MAX || !(await this.#take(session))) continue;
      this.dropped += kept.size;
      this.save(() => this.store.dropUpTo(Infinity, session));
      await this.store.release?.(session);
    }
  }

  /** Return what other sessions left in the store, the latest first. */
  async #leftovers() {
    const { readings } = await this.#inTime(this.store.load(), { readings: [] });
    const runs = new Map();
    for (const { session, name, code, token, acks, raw, ...reading } of readings) {
      if (session === undefined || session === this.session) continue;
      if (!runs.has(session)) runs.set(session, { session, who: { name, code, token }, kept: new Map() });
      const run = runs.get(session);
      run.kept.set(reading.seq, reading);
      run.lastTime = reading.time;
      run.raw = raw;
    }
    return [...runs.values()].sort((one, other) => (one.lastTime < other.lastTime ? 1 : -1));
  }

  async #deliverLeftovers() {
    if (this.#isDelivering || this.store.claim === undefined) return;
    this.#isDelivering = true;
    this.#searchedAt = this.clock.now();
    const mine = this.#starts;
    try {
      for (const earlier of await this.#leftovers()) {
        if (!(await this.#take(earlier.session))) continue;
        if (mine === this.#starts) await this.#deliver(earlier);
        await this.store.release(earlier.session);
        if (mine !== this.#starts) break;
      }
    } catch (error) {
      this.reportStore(error);
    }
    this.#isDelivering = false;
  }

  async #deliver({ session, kept, who }) {
    const { clock, store } = this;
    const about = { clock, store, session, kept, who: { ...who, acks: "broker" } };
    const courier = new Courier(this.#url, { ...this.#options, ...about });
    this.#courier = courier;
    const ended = new Promise((resolve) => courier.addEventListener("close", resolve));
    courier.start();
    await ended;
    await courier.save(() => {});
    this.#courier = null;
  }

  /** Wait for the store, but not for long; return `otherwise` if it fails or does not answer. */
  async #inTime(promise, otherwise) {
    if (promise === undefined) return otherwise;
    let timer;
    const late = new Promise((_, reject) => {
      timer = this.clock.setTimeout(() => reject(new Error("the store does not answer")), STORE_WITHIN_MS);
    });
    try {
      return await Promise.race([promise, late]);
    } catch (error) {
      this.reportStore(error);
      return otherwise;
    } finally {
      this.clock.clearTimeout(timer);
    }
  }

  /** Return the time as the contract writes it: UTC with six digits of a second. */
  #utcNow() {
    return new Date(this.clock.time()).toISOString().replace("Z", "000Z");
  }
}

/** A dashboard: receive `reading`, `state`, `event` and `link` events, of one class `code` or of all. */
export class NeuroOneDashboard extends NeuroOneClient {
  #hello;
  isToldOften = true;

  constructor(url, { token, code, ...options } = {}) {
    super(url, options);
    this.#hello = { role: "dashboard", code: code ?? null };
    if (token !== undefined) this.#hello.token = token;
  }

  hello() {
    return this.#hello;
  }
}

/** Return 32 random hexadecimal digits. (A page over plain http has no crypto.randomUUID.) */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the faulty field of a reading and what is wrong with it, as the gateway says it; undefined for a good one. */
function faultOf(reading) {
  const isWhole = (value, most) => Number.isInteger(value) && value >= 0 && value <= most;
  for (const [field, most] of Object.entries(RANGES)) {
    if (!isWhole(reading[field], most)) return [field, `${field} must be a whole number from 0 to ${most}`];
  }
  const { poor_signal = null } = reading;
  if (poor_signal !== null && !isWhole(poor_signal, POOR_SIGNAL_MAX)) {
    return ["poor_signal", `poor_signal must be a whole number from 0 to ${POOR_SIGNAL_MAX}, or null`];
  }
  const length = new TextEncoder().encode(JSON.stringify({ ...reading, type: "reading" })).length;
  if (length > MESSAGE_MAX_BYTES) return ["", `a message has at most ${MESSAGE_MAX_BYTES} bytes`];
  return undefined;
}

/** The same of a raw block. */
function rawFaultOf({ first_sample, rate_hz, measured_hz = null, samples }) {
  const isWhole = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;
  if (!isWhole(first_sample, 0, Number.MAX_SAFE_INTEGER)) {
    return ["first_sample", "first_sample must be a whole number from 0"];
  }
  const rates = { rate_hz, ...(measured_hz !== null && { measured_hz }) };
  for (const [field, value] of Object.entries(rates)) {
    if (!isWhole(value, 1, RATE_MAX_HZ)) return [field, `${field} must be a whole number from 1 to ${RATE_MAX_HZ}`];
  }
  const isGood = Array.isArray(samples) && isWhole(samples.length, 1, RAW_BLOCK_SAMPLES);
  if (!isGood || !samples.every((each) => isWhole(each, RAW_LOW, RAW_HIGH))) {
    return ["samples", `samples must be 1 to ${RAW_BLOCK_SAMPLES} whole numbers from ${RAW_LOW} to ${RAW_HIGH}`];
  }
  return undefined;
}
