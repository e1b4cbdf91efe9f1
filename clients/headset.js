/**
 * Read a headset in a web page: Web Bluetooth and Web Serial in, readings and the link's state out. No dependencies but
 * its neighbours in this folder; Chrome, Edge and other Chromium browsers, on https pages and on localhost.
 *
 *     const headset = new Headset(await chooseBluetooth()); // in a click: the browser asks the user
 *     headset.addEventListener("reading", ({ detail }) => student.send(detail));
 *     headset.addEventListener("block", ({ detail }) => student.sendRaw(detail)); // goes on if the lesson wants it
 *     headset.addEventListener("session", () => beginAnew()); // the link was lost: a gap, no invented value
 *     headset.addEventListener("state", ({ detail }) => show(detail.status, detail.link));
 *     headset.start();
 */
import { LinkFault } from "./headset_sources.js";
import { LinkMonitor } from "./link_monitor.js";
import { RawBlocks } from "./raw_blocks.js";
import { HeadsetReadings } from "./readings.js";
import { ThinkGearDecoder } from "./thinkgear.js";

export { BluetoothSource, chooseBluetooth, chooseSerial, SerialSource, waysToConnect } from "./headset_sources.js";

/** So often the link is judged. */
const CHECK_MS = 250;
/** Delays before a lost link is opened anew. They grow with each failure. */
const REOPEN_FIRST_MS = 500;
const REOPEN_LONGEST_MS = 10_000;
/** Opening may take this long: Bluetooth takes some seconds, and some never answer. */
const OPEN_WITHIN_MS = 20_000;
/** So may a command, or closing. */
const ANSWER_WITHIN_MS = 5000;

/**
 * One headset: opens its source, and again whenever the link is lost, until `stop`.
 *
 * Events: `reading`; `raw` (samples, signed ADC counts); `block` (64 of them, numbered, for `NeuroOneStudent.sendRaw`);
 * `state` (`{ status, link, isWithheld }`, when it changes); `session` when a link that brought readings was lost:
 * those that follow belong to a new session.
 */
export class Headset extends EventTarget {
  #source;
  #clock;
  #time;
  #decoder = new ThinkGearDecoder();
  #readings = new HeadsetReadings();
  #blocks = new RawBlocks();
  #monitor = new LinkMonitor();
  #speeds;
  #failures = 0;
  #hadReadings = false;
  #isStopped = true;
  #running = null;
  #isOpen = false;
  #connections = 0;
  #state = "";
  #opening = null;
  #wake = () => {};

  /** `clock` returns ms of a steady clock, `time` the time of day in ms. */
  constructor(source, { clock = () => performance.now(), time = () => Date.now() } = {}) {
    super();
    this.#source = source;
    this.#clock = clock;
    this.#time = time;
    this.#speeds = [...source.speeds];
  }

  /** Totals since the headset was made. */
  get counters() {
    return { ...this.#decoder.counters, ...this.#readings.counters, ...this.#blocks.counters };
  }

  /** Connect, and stay connected. Returns once `stop` is called and the source is closed; `start` before undoes it. */
  start() {
    this.#isStopped = false;
    this.#running ??= this.#stayConnected();
    return this.#running;
  }

  /** Close the link and do not open it again; an opening that hangs ends at once. */
  stop() {
    this.#isStopped = true;
    queueMicrotask(() => this.#isStopped && this.#opening?.abort(new LinkFault("ended", "stopped"))); // unless started
    this.#wake();
  }

  async #stayConnected() {
    while (!this.#isStopped) {
      this.#monitor.onFault(await this.#connection());
      this.#report();
      if (!this.#isStopped) await this.#sleep(Math.min(REOPEN_LONGEST_MS, REOPEN_FIRST_MS * 2 ** this.#failures));
      this.#failures += 1;
    }
    this.#running = null;
    this.#monitor.onFault("ended");
    this.#report();
  }

  /** Carry one connection from its opening to its end; return the link's state after it. */
  async #connection() {
    let port = null;
    let link = "no_port";
    try {
      this.#isOpen = false;
      port = await this.#open();
      this.#onOpen();
      link = await this.#carry(port);
    } catch (fault) {
      link = fault instanceof LinkFault ? fault.link : "no_port";
    }
    this.#onEvents(this.#decoder.flush());
    this.#onBlocks(this.#blocks.end());
    await within(port?.close(), ANSWER_WITHIN_MS).catch(() => {}); // it may be closed already, or hang
    if (this.#monitor.hasFrames) this.#failures = 0;
    else this.#speeds.push(this.#speeds.shift());
    if (this.#hadReadings) {
      this.#readings.begin();
      this.#blocks.begin();
      this.#hadReadings = false;
      this.dispatchEvent(new CustomEvent("session"));
    }
    return link;
  }

  async #open() {
    const connection = ++this.#connections;
    // An old connection may hang and send on.
    const onBytes = (bytes) => connection === this.#connections && this.#onBytes(bytes);
    const end = new AbortController();
    const timer = setTimeout(() => end.abort(new LinkFault("silent", "no answer in time")), OPEN_WITHIN_MS);
    this.#opening = end;
    const opening = this.#source.open(this.#speeds[0], onBytes, end.signal);
    try {
      return await Promise.race([opening, endOf(end.signal)]);
    } catch (fault) {
      opening.then((late) => late.close()).catch(() => {}); // what opens too late is closed
      throw fault;
    } finally {
      clearTimeout(timer);
      this.#opening = null;
    }
  }

  /** Check the link until it ends, is useless or is to be stopped. */
  async #carry(port) {
    let ended = null;
    port.closed
      .then(() => (ended = "unplugged"), (fault) => (ended = fault.link ?? "unplugged"))
      .finally(() => this.#wake());
    while (ended === null && !this.#isStopped) {
      await this.#sleep(CHECK_MS);
      const nowMs = this.#clock();
      this.#report();
      if (this.#monitor.mustReopen(nowMs)) return this.#monitor.state(nowMs).link;
      const command = this.#monitor.command(nowMs);
      if (command !== null) await within(port.write(command), ANSWER_WITHIN_MS);
    }
    return ended ?? "ended";
  }

  /** The first bytes may come before the source says that it is open. */
  #onOpen() {
    if (!this.#isOpen) this.#monitor.onOpen(this.#clock());
    this.#isOpen = true;
  }

  #onBytes(bytes) {
    if (this.#isStopped || bytes.length === 0) return;
    this.#onOpen();
    this.#monitor.onBytes(this.#clock());
    this.#onEvents(this.#decoder.push(bytes));
  }

  #onEvents(events) {
    const nowMs = this.#clock();
    this.#monitor.onEvents(events, nowMs);
    for (const { type, samples } of events) {
      if (type === "raw") this.dispatchEvent(new CustomEvent("raw", { detail: samples }));
    }
    const readings = this.#readings.push(events);
    this.#onBlocks(this.#blocks.push(events, this.#readings.seconds, nowMs, this.#time()));
    for (const reading of readings) {
      this.#hadReadings = true;
      this.#monitor.onReading(nowMs);
      this.dispatchEvent(new CustomEvent("reading", { detail: reading }));
    }
  }

  #onBlocks(blocks) {
    for (const block of blocks) this.dispatchEvent(new CustomEvent("block", { detail: block }));
  }

  #report() {
    const state = { ...this.#monitor.state(this.#clock()), isWithheld: this.#readings.isWithheld };
    const text = JSON.stringify(state);
    if (text === this.#state) return;
    this.#state = text;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  #sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Return a promise that rejects with the signal's reason when it is aborted. */
function endOf(signal) {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
}

async function within(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new LinkFault("silent", "no answer in time")), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
