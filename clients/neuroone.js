/**
 * A client of the NeuroOne gateway, dialect `neuroone.v1` (docs/websocket.md). No dependencies; a browser or Node 22 (20 with --experimental-websocket).
 *
 *     const student = new NeuroOneStudent("wss://school.example/ws/", { name: "Ana", code: "ABC123" });
 *     student.start();
 *     student.send({ attention: 85, meditation: 72, delta: 1, ... });
 *
 * A reading is kept until the gateway has acknowledged it: over reconnects and, with IndexedDbStore, over reloads of
 * the page. It is sent again with its own session and seq, so nothing is lost and nothing counts twice.
 */

const SUBPROTOCOL = "neuroone.v1";
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;
/** Readings that may wait for the gateway: three hours at one a second. Then the oldest is dropped and counted. */
const KEPT_MAX = 10_000;
/** Close codes after which the client does not reconnect: not allowed, and another connection resumed the session. */
const FINAL_CODES = new Set([1008, 4001]);

/** Return the delay before try number `attempt` in ms: doubled each time, capped, and 50 to 100 % of that, so that a class spreads. */
export function delayMs(attempt, random = Math.random) {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 16));
  return full * (0.5 + 0.5 * random());
}

/** Keep readings in memory: they survive a lost connection, but not a reload. */
export class MemoryStore {
  #readings = new Map();

  async load() {
    return { session: null, readings: [...this.#readings.values()] };
  }

  async begin(_session) {}

  async put(reading) {
    this.#readings.set(reading.seq, reading);
  }

  async dropUpTo(seq) {
    for (const kept of this.#readings.keys()) if (kept <= seq) this.#readings.delete(kept);
  }
}

/** Keep session and readings in IndexedDB: they survive a reload and a crash of the browser. */
export class IndexedDbStore {
  #name;
  #opened = null;

  constructor(name = "neuroone") {
    this.#name = name;
  }

  async load() {
    const readings = await this.#run("readings", "readonly", (store) => store.getAll());
    const session = await this.#run("session", "readonly", (store) => store.get("id"));
    return { session: session ?? null, readings };
  }

  async begin(session) {
    await this.#run("readings", "readwrite", (store) => store.clear());
    await this.#run("session", "readwrite", (store) => store.put(session, "id"));
  }

  async put(reading) {
    await this.#run("readings", "readwrite", (store) => store.put(reading));
  }

  async dropUpTo(seq) {
    await this.#run("readings", "readwrite", (store) => store.delete(IDBKeyRange.upperBound(seq)));
  }

  #open() {
    this.#opened ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(this.#name, 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("readings", { keyPath: "seq" });
        request.result.createObjectStore("session");
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return this.#opened;
  }

  async #run(storeName, mode, work) {
    const database = await this.#open();
    return new Promise((resolve, reject) => {
      const request = work(database.transaction(storeName, mode).objectStore(storeName));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }
}

/** Connect, send hello, and reconnect when the connection is lost. Messages arrive as events of their `type`. */
class NeuroOneClient extends EventTarget {
  #url;
  #WebSocket;
  #socket = null;
  #attempt = 0;
  #timer = null;
  #stopped = true;

  constructor(url, { WebSocket = globalThis.WebSocket } = {}) {
    super();
    this.#url = url;
    this.#WebSocket = WebSocket;
  }

  /** True once the gateway has answered hello on the present connection. */
  isWelcome = false;

  /** Connect now, and again whenever the connection is lost. */
  start() {
    this.#stopped = false;
    this.#connect();
  }

  /** Close the connection and do not reconnect. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
  }

  /** Mark a moment; `marker.id` comes back in the `ack` event. Returns false while there is no connection. */
  mark(marker) {
    return this.write({ type: "marker", ...marker });
  }

  write(message) {
    if (!this.isWelcome) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #connect() {
    const socket = new this.#WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", ...this.hello() }));
    socket.onmessage = (event) => this.#onMessage(JSON.parse(event.data));
    socket.onerror = () => {}; // onclose follows
    socket.onclose = (event) => this.#onClose(event);
  }

  #onMessage(message) {
    if (message.type === "welcome") {
      this.isWelcome = true;
      this.#attempt = 0;
      this.welcomed(message);
    } else if (message.type === "ack") {
      this.acked(message);
    }
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  #onClose(event) {
    this.isWelcome = false;
    this.dispatchEvent(new CustomEvent("close", { detail: { code: event.code } }));
    if (this.#stopped || FINAL_CODES.has(event.code)) return;
    this.#timer = setTimeout(() => this.#connect(), delayMs(this.#attempt++));
  }

  welcomed(_message) {}

  acked(_message) {}
}

/** A student's app: send readings, and keep each until it is acknowledged. */
export class NeuroOneStudent extends NeuroOneClient {
  #who;
  #session;
  #store;
  #kept = new Map();
  #seq = 0;
  #saved = Promise.resolve();

  /** Readings that were dropped because too many waited. */
  dropped = 0;

  /** `token` is the class's join code, if it has one. With `acks` "recorded" readings are kept until they are on disk. */
  constructor(url, { name, code, token, acks = "broker", store = new MemoryStore(), ...options } = {}) {
    super(url, options);
    this.#who = { role: "student", name: name ?? null, code: code ?? null, acks };
    if (token !== undefined) this.#who.token = token;
    this.#store = store;
    this.#session = newId();
  }

  /** Readings that the gateway has not acknowledged yet. */
  get waiting() {
    return this.#kept.size;
  }

  get session() {
    return this.#session;
  }

  /** Load what an earlier page left in the store, then connect. */
  async start() {
    const { session, readings } = await this.#store.load();
    if (session !== null && readings.length > 0) {
      this.#session = session;
      for (const reading of readings) this.#kept.set(reading.seq, reading);
      this.#seq = readings.at(-1).seq + 1;
    } else {
      await this.#store.begin(this.#session);
    }
    super.start();
  }

  /** Send a reading of this moment: attention, meditation, the eight bands and, if known, poor_signal. Returns its seq. */
  send(values) {
    const reading = { time: utcNow(), ...values, seq: this.#seq++ };
    this.#kept.set(reading.seq, reading);
    if (this.#kept.size > KEPT_MAX) {
      this.#kept.delete(this.#kept.keys().next().value);
      this.dropped += 1;
    }
    this.#save(() => this.#store.put(reading));
    this.write({ type: "reading", ...reading });
    return reading.seq;
  }

  hello() {
    return { ...this.#who, session: this.#session };
  }

  welcomed() {
    for (const reading of this.#kept.values()) this.write({ type: "reading", ...reading });
  }

  acked({ stage, seq }) {
    if (stage !== this.#who.acks || seq === undefined) return;
    for (const kept of this.#kept.keys()) {
      if (kept > seq) break;
      this.#kept.delete(kept);
    }
    this.#save(() => this.#store.dropUpTo(seq));
  }

  #save(work) {
    this.#saved = this.#saved.then(work).catch((error) => {
      this.dispatchEvent(new CustomEvent("storefault", { detail: error }));
    });
  }
}

/** A dashboard: receive `reading`, `state`, `event` and `link` events, of one class `code` or of all. */
export class NeuroOneDashboard extends NeuroOneClient {
  #hello;

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

/** Return the time as the contract writes it: UTC with six digits of a second. */
function utcNow() {
  return new Date().toISOString().replace("Z", "000Z");
}
