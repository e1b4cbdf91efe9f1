/**
 * Make readings of a headset's events, by the rules of services/serial_bridge/stream.py; a test holds both to the same.
 *
 * A reading is made only of plausible values: within range; after damage, from a frame with a known layout; and not
 * while the line changes so many bytes that the checksum proves nothing.
 */

export const BANDS = [
  "delta", "theta", "low_alpha", "high_alpha", "low_beta", "high_beta", "low_gamma", "mid_gamma",
];
const ESENSE_MAX = 100;
const BAND_MAX = 0xffffff;
/** Each frame with the first of these that the headset sends makes a reading. */
const TRIGGERS = ["bands", "bands_float", "attention", "meditation", "poor_signal"];
/** A quantity missing from so many frames in a row is not sent by the headset. */
const PATIENCE_FRAMES = 3;
/** Known layouts of frames are at most so many; a headset has one to four. */
const LAYOUTS_MAX = 16;
/** Share of frames whose bytes were changed on the line. Above it the checksum, eight bits, proves too little. */
const CORRUPT_MAX_SHARE = 0.04;
const CORRUPT_WINDOW_FRAMES = 512;
/** A headset's frames have 8 or 36 bytes: if a multiple of this was skipped, bytes were changed and none lost. */
const FRAME_UNIT_BYTES = 4;

/** Make readings from a decoder's events. */
export class HeadsetReadings {
  /** The frames of a second among the events that were pushed last. */
  seconds = [];
  counters = { readings: 0, implausible_readings: 0, withheld_readings: 0, raw_samples: 0 };

  #layouts = new Set();

  constructor() {
    this.begin();
  }

  /** Start a new session. */
  begin() {
    this.#latest = {};
    this.#framesWithout = Object.fromEntries(TRIGGERS.map((quantity) => [quantity, 0]));
    this.#lostBytes = 0;
    this.#isDamaged = false;
    this.#hasSamples = false;
    this.#corruptShare = 0;
  }

  #latest;
  #framesWithout;
  #lostBytes;
  #isDamaged;
  #hasSamples;
  #corruptShare;

  /** True while the line changes so many bytes that readings are withheld. */
  get isWithheld() {
    return this.#corruptShare > CORRUPT_MAX_SHARE;
  }

  /** Return the readings that these events complete: `poor_signal` (null: not sent), eSense 0 to 100, eight bands. */
  push(events) {
    const readings = [];
    this.seconds = [];
    for (const event of events) {
      if (event.type === "skipped") {
        this.#isDamaged = true;
        this.#lostBytes += event.bytes;
      } else if (event.type === "raw") {
        this.#onFrames(event.samples.length);
        this.#onSamples(event.samples.length);
      } else {
        this.#onFrames(1);
        this.#onSamples(event.rows.filter(({ quantity }) => quantity === "raw").length);
        const reading = this.#onFrame(event);
        if (reading !== null) readings.push(reading);
      }
    }
    return readings;
  }

  #onSamples(n) {
    this.counters.raw_samples += n;
    this.#hasSamples ||= n > 0;
  }

  #onFrames(n) {
    this.#corruptShare *= (1 - 1 / CORRUPT_WINDOW_FRAMES) ** n;
    // Before the first sample the headset was joined in mid-frame, which is no damage.
    if (this.#lostBytes > 0 && this.#hasSamples && this.#lostBytes % FRAME_UNIT_BYTES === 0) {
      this.#corruptShare += 1 / CORRUPT_WINDOW_FRAMES;
    }
    this.#lostBytes = 0;
  }

  #onFrame(event) {
    const { rows } = event;
    const values = {};
    for (const { quantity, value } of rows) if (TRIGGERS.includes(quantity)) values[quantity] = value;
    if (Object.keys(values).length === 0) return null;
    if (!this.#isPlausible(rows, values)) {
      this.counters.implausible_readings += 1;
      return null;
    }
    Object.assign(this.#latest, values);
    for (const quantity of TRIGGERS) {
      this.#framesWithout[quantity] = quantity in values ? 0 : this.#framesWithout[quantity] + 1;
    }
    const trigger = TRIGGERS.find((quantity) => this.#framesWithout[quantity] < PATIENCE_FRAMES);
    if (!(trigger in values)) return null;
    this.seconds.push(event);
    if (this.isWithheld) {
      this.counters.withheld_readings += 1;
      return null;
    }
    this.counters.readings += 1;
    return this.#reading();
  }

  #isPlausible(rows, { attention = 0, meditation = 0, bands_float: bands = [] }) {
    const layout = rows.map(({ code, level }) => `${code}.${level}`).join(" ");
    const isNew = !this.#layouts.has(layout);
    const isDamaged = this.#isDamaged;
    this.#isDamaged = false;
    if (isNew && this.#layouts.size < LAYOUTS_MAX) this.#layouts.add(layout);
    if (isNew && isDamaged && this.#layouts.size > 1) return false;
    const areBands = bands.every((power) => power >= 0 && power <= BAND_MAX);
    return attention <= ESENSE_MAX && meditation <= ESENSE_MAX && areBands;
  }

  #reading() {
    const { poor_signal = null, attention = 0, meditation = 0, bands, bands_float } = this.#latest;
    const powers = bands ?? bands_float ?? BANDS.map(() => 0);
    return {
      poor_signal, attention, meditation,
      ...Object.fromEntries(BANDS.map((band, i) => [band, halfToEven(powers[i])])),
    };
  }
}

/** Round as the bridge does: 0.5 to the even neighbour. */
export function halfToEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
