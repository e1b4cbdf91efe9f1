/**
 * Decode the ThinkGear serial stream of NeuroSky headsets: frames, checksum, codes. No dependencies, no page; a browser
 * or Node.
 *
 *     const decoder = new ThinkGearDecoder();
 *     for (const event of decoder.push(bytes)) if (event.type === "frame") console.log(event.rows);
 *
 * The same rules as services/serial_bridge/headsets/thinkgear.py, which has the sources; a test holds both to the same
 * events. A frame is
 *
 *     SYNC SYNC | PLENGTH | payload, PLENGTH bytes | CHKSUM        CHKSUM = ~sum(payload) & 0xFF
 *
 * and its payload is rows of `EXCODE* CODE [VLENGTH if CODE >= 0x80] value`, multi-byte values big-endian. Nothing is
 * taken from a frame before its checksum holds. On a failed checksum or an impossible PLENGTH the decoder goes on one
 * byte later, not one frame later: with 1 % of all bytes lost, that recovers 92 % of the frames instead of 77 %.
 *
 * Events, for pieces of any size the same but for where a run of samples is split:
 * - `{ type: "raw", samples }`: consecutive raw samples, signed ADC counts, each from a frame of its own;
 * - `{ type: "frame", rows, payload }`: the rows of any other frame, `{ quantity, value, code, level }`; `value` is a
 *   number, for `bands` and `bands_float` eight of them (delta to mid gamma), and bytes for what has no other meaning;
 * - `{ type: "skipped", bytes }`: so many bytes belong to no frame: data was lost or damaged here.
 */

const SYNC = 0xaa;
/** Raises the code level of the CODE behind it by one. No code is defined above level 0. */
const EXCODE = 0x55;
/** A PLENGTH of 170 is another SYNC, a larger one is forbidden. */
const PAYLOAD_MAX_BYTES = 169;
/** Two SYNC, PLENGTH, CHKSUM. The decoder keeps less than the longest frame between two pieces. */
const OVERHEAD_BYTES = 4;
/** CODEs from here on are followed by a VLENGTH; those below have one byte of value. */
const LONG_ROW = 0x80;
const RAW_ROW = 0x80;
/** A ThinkGear chip has a 12-bit ADC; a sample outside is counted as implausible. */
const RAW_LOW = -2048;
const RAW_HIGH = 2047;
const ESENSE_MAX = 100;

/** By CODE and length of the value: a known CODE with another length is an unknown row. */
const ROWS = new Map([
  ["1 1", "battery"],
  ["2 1", "poor_signal"],
  ["3 1", "heart_rate"],
  ["4 1", "attention"],
  ["5 1", "meditation"],
  ["6 1", "raw8"],
  ["7 1", "raw_marker"],
  ["22 1", "blink"],
  ["128 2", "raw"],
  ["129 32", "bands_float"],
  ["131 24", "bands"],
  ["134 2", "rr_ms"],
  ["208 2", "headset_found"],
  ["209 0", "headset_not_found"],
  ["209 2", "headset_not_found"],
  ["210 2", "headset_lost"],
  ["211 0", "request_denied"],
  ["211 2", "request_denied"],
  ["212 1", "dongle_status"],
]);

/** To the RF dongle: link to any headset; it scans for 10 s. */
export const DONGLE_AUTO_CONNECT = Uint8Array.of(0xc2);
export const DONGLE_BAUD = 115_200;
export const RAW_BAUD = 57_600;
export const NORMAL_BAUD = 9600;

/** Behind every frame of a BrainLink; it is no part of the frame. */
const BRAINLINK_TRAILER = [0x23, 0x23];
const TRAILER_MAX_BYTES = 4;
/** The same few bytes behind so many frames in a row are not damage but a trailer, whoever made the headset. */
const TRAILER_PROOF = 16;

export class ThinkGearDecoder {
  /** Totals since the decoder was made. */
  counters = {
    frames: 0, checksum_failures: 0, oversize_headers: 0, skipped_bytes: 0, truncated_rows: 0, unknown_rows: 0,
    implausible_values: 0,
  };

  #kept = new Uint8Array();
  /** What may stand between two frames and counts neither as damage nor as skipped. */
  #trailer = BRAINLINK_TRAILER;
  /** The last bytes between two frames, and how often they have come in a row. */
  #gap = [];
  #gaps = 0;
  #isBehindFrame = false;

  /** Return the events that these bytes complete. Never throws for any bytes. */
  push(bytes) {
    const events = [];
    this.#scan(joined(this.#kept, bytes), events);
    return events;
  }

  /**
   * Return complete frames behind an unfinished header, which they prove to be a false one; call it when the line has
   * been quiet. Without a complete frame behind it the header is kept: the rest of its frame may still arrive.
   */
  idle() {
    const kept = this.#kept;
    for (let start = 1; start + 1 < kept.length; start += 1) {
      if (kept[start] !== SYNC || kept[start + 1] !== SYNC) continue;
      const behind = kept.subarray(start);
      const [first] = new ThinkGearDecoder().push(behind);
      if (first === undefined || first.type === "skipped") continue;
      const events = [];
      this.#skip(start, events);
      this.#scan(behind, events);
      return events;
    }
    return [];
  }

  /** Return the frames behind an unfinished header, discard the rest, and get ready for another stream. */
  flush() {
    const events = this.idle();
    if (this.#isBehindFrame && beginsWith(this.#kept, this.#trailer)) {
      this.#kept = this.#kept.subarray(this.#trailer.length);
    }
    while (this.#kept.length > 0) {
      this.#skip(1, events); // each round discards at least one byte of the unfinished header
      this.#scan(this.#kept.subarray(1), events);
    }
    return events;
  }

  /** Decode a line, add its events, and keep the rest, which must wait for more bytes. */
  #scan(line, events) {
    let at = 0;
    for (;;) {
      const sync = findSync(line, at);
      if (sync < 0) {
        const end = line.length - (line.length > at && line[line.length - 1] === SYNC ? 1 : 0);
        if (!this.#isBehindFrame || end - at > TRAILER_MAX_BYTES) {
          this.#onGap(line.subarray(at, end), events);
          at = end;
        }
        break;
      }
      if (sync > at) {
        this.#onGap(line.subarray(at, sync), events);
        at = sync;
      }
      if (at + 2 === line.length) break;
      const length = line[at + 2];
      const end = at + OVERHEAD_BYTES + length;
      if (length > PAYLOAD_MAX_BYTES) {
        if (length !== SYNC) this.counters.oversize_headers += 1;
        this.#skip(1, events);
        at += 1;
        continue;
      }
      if (end > line.length) break;
      let sum = 0;
      for (let i = at + 3; i < end; i += 1) sum += line[i];
      if ((sum & 0xff) !== 0xff) {
        this.counters.checksum_failures += 1;
        this.#skip(1, events);
        at += 1;
        continue;
      }
      this.counters.frames += 1;
      this.#isBehindFrame = true;
      if (length === 4 && line[at + 3] === RAW_ROW && line[at + 4] === 2) {
        this.#onSample(((line[at + 5] << 24) >> 16) | line[at + 6], events);
      } else {
        const payload = line.slice(at + 3, end - 1);
        events.push({ type: "frame", rows: this.#rows(payload), payload });
      }
      at = end;
    }
    this.#kept = line.slice(at);
  }

  #onSample(sample, events) {
    if (sample < RAW_LOW || sample > RAW_HIGH) this.counters.implausible_values += 1;
    const last = events.at(-1);
    if (last?.type === "raw") last.samples.push(sample);
    else events.push({ type: "raw", samples: [sample] });
  }

  /** Skip what stands between two frames, but not the trailer of the first; learn that trailer. */
  #onGap(gap, events) {
    let bytes = gap.length;
    if (this.#isBehindFrame) {
      if (beginsWith(gap, this.#trailer)) bytes -= this.#trailer.length;
      if (bytes === 0) return;
      if (gap.length <= TRAILER_MAX_BYTES) {
        this.#gaps = gap.length === this.#gap.length && beginsWith(gap, this.#gap) ? this.#gaps + 1 : 1;
        this.#gap = Array.from(gap);
        if (this.#gaps >= TRAILER_PROOF) this.#trailer = this.#gap;
      }
    }
    this.#skip(bytes, events);
  }

  #skip(bytes, events) {
    this.counters.skipped_bytes += bytes;
    this.#isBehindFrame = false;
    if (bytes > 0) events.push({ type: "skipped", bytes });
  }

  #rows(payload) {
    const rows = [];
    for (let at = 0; at < payload.length; ) {
      let level = 0;
      while (payload[at] === EXCODE) {
        level += 1;
        at += 1;
      }
      const code = payload[at];
      const head = code >= LONG_ROW ? 2 : 1; // CODE, VLENGTH
      const length = head === 2 ? (payload[at + 1] ?? 1) : 1;
      const value = payload.slice(at + head, at + head + length);
      at += head + length;
      if (value.length < length) {
        this.counters.truncated_rows += 1;
        break;
      }
      const quantity = level > 0 ? undefined : ROWS.get(`${code} ${length}`);
      if (quantity === undefined) this.counters.unknown_rows += 1;
      const row = { quantity: quantity ?? "unknown", value: valueOf(quantity, value), code, level };
      if (isImplausible(row)) this.counters.implausible_values += 1;
      rows.push(row);
    }
    return rows;
  }
}

function valueOf(quantity, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (quantity === undefined) return bytes;
  if (quantity === "bands") {
    return Array.from({ length: 8 }, (_, i) => (bytes[3 * i] << 16) | (bytes[3 * i + 1] << 8) | bytes[3 * i + 2]);
  }
  if (quantity === "bands_float") return Array.from({ length: 8 }, (_, i) => view.getFloat32(4 * i));
  if (quantity === "raw") return view.getInt16(0);
  if (quantity === "rr_ms") return view.getUint16(0);
  return bytes.length === 1 ? bytes[0] : bytes;
}

function isImplausible({ quantity, value }) {
  if (quantity === "raw") return value < RAW_LOW || value > RAW_HIGH;
  if (quantity === "attention" || quantity === "meditation") return value > ESENSE_MAX;
  return quantity === "bands_float" && !value.every((power) => Number.isFinite(power) && power >= 0);
}

/** Return where two SYNC stand next, or -1. */
function findSync(line, from) {
  let at = line.indexOf(SYNC, from);
  while (at >= 0 && at + 1 < line.length && line[at + 1] !== SYNC) at = line.indexOf(SYNC, at + 2);
  return at + 1 < line.length ? at : -1;
}

function joined(first, second) {
  if (first.length === 0) return second;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function beginsWith(bytes, start) {
  return start.every((byte, i) => bytes[i] === byte);
}
