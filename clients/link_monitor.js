/**
 * Judge a headset's link, by the rules of services/serial_bridge/link_monitor.py; a test holds both to the same. What
 * to do about a link is written in neuroone/contract/hints.py only.
 */
import { DONGLE_AUTO_CONNECT } from "./thinkgear.js";

/** A link without a byte for this time is silent: the slowest headset sends a frame every second. */
const SILENT_MS = 3000;
/** Bytes without a frame for this time are not a headset's. */
const NO_FRAMES_MS = 5000;
/** A silent port is opened anew after this time: a lost Bluetooth link may give no other sign. */
const GIVE_UP_MS = 10_000;
/** Time between two commands to connect, to an RF dongle. */
const DONGLE_RETRY_MS = 5000;
/** Frames that prove a headset: noise can look like one. */
const PROOF_FRAMES = 2;
/** A stream without a reading for so long is stale, and then offline. */
const STALE_MS = 3000;
const OFFLINE_MS = 10_000;
const GONE = new Set(["unplugged", "no_port", "no_permission", "port_busy", "ended"]);

/** Judge a headset's link by what arrived and when; decide what to tell a dongle. All times are ms of one clock. */
export class LinkMonitor {
  #openedMs = 0;
  #bytesMs = 0;
  #frameMs = 0;
  #frames = 0;
  #isOpen = false;
  #dongle = null;
  #readingMs = -Infinity;
  #commandedMs = -Infinity;
  #link = "searching";

  /** Start with an open port; the last judgement stands until frames arrive, or something else is wrong. */
  onOpen(nowMs) {
    this.#openedMs = this.#bytesMs = this.#frameMs = nowMs;
    this.#frames = 0;
    this.#dongle = null;
    this.#isOpen = true;
  }

  onFault(link) {
    this.#isOpen = false;
    this.#readingMs = -Infinity;
    this.#link = link;
  }

  onBytes(nowMs) {
    this.#bytesMs = nowMs;
  }

  onEvents(events, nowMs) {
    for (const event of events) {
      if (event.type === "skipped") continue;
      this.#frameMs = nowMs;
      this.#frames += event.samples?.length ?? 1;
      if (event.type === "raw") this.#dongle = null;
      else for (const row of event.rows) this.#dongle = dongleAfter(row, this.#dongle);
    }
  }

  onReading(nowMs) {
    this.#readingMs = nowMs;
  }

  /** True once a headset has shown itself since the port was opened. */
  get hasFrames() {
    return this.#frames >= PROOF_FRAMES;
  }

  /** Return true if the open port is useless: silent for long, or without a frame among its bytes. */
  mustReopen(nowMs) {
    const isSilent = nowMs - this.#bytesMs >= SILENT_MS;
    return this.#isOpen && nowMs - this.#frameMs >= (isSilent ? GIVE_UP_MS : NO_FRAMES_MS);
  }

  /** Return the bytes to send now, or null: a dongle without its headset is told to connect. */
  command(nowMs) {
    const isDue = nowMs - this.#commandedMs >= DONGLE_RETRY_MS;
    if (!this.hasFrames || !isDue || !["standby", "no_headset"].includes(this.#dongle)) return null;
    this.#commandedMs = nowMs;
    return DONGLE_AUTO_CONNECT;
  }

  /** Return the link (a state of the contract) and the stream's status: `online`, `stale` or `offline`. */
  state(nowMs) {
    if (this.#isOpen && nowMs - this.#bytesMs >= SILENT_MS) this.#link = "silent";
    else if (this.#isOpen && nowMs - this.#frameMs >= NO_FRAMES_MS) this.#link = "no_frames";
    else if (this.#isOpen && this.hasFrames) this.#link = this.#dongle ?? "connected";
    const silentMs = nowMs - this.#readingMs;
    const status = silentMs >= OFFLINE_MS ? "offline" : silentMs >= STALE_MS ? "stale" : "online";
    return { link: this.#link, status: GONE.has(this.#link) ? "offline" : status };
  }
}

/** Return a dongle's state after a row; null: it is linked to its headset, or there is no dongle. */
function dongleAfter({ quantity, value }, before) {
  if (quantity === "dongle_status") return value ? "scanning" : before === "no_headset" ? before : "standby";
  if (quantity === "headset_not_found" || quantity === "request_denied") return "no_headset";
  if (quantity === "headset_lost") return "standby";
  return ["headset_found", "poor_signal", "raw"].includes(quantity) ? null : before;
}
