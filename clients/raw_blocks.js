/**
 * Make blocks of raw samples of a headset's events, by the rules of services/serial_bridge: stream.py, sample_clock.py
 * and sampling_rate.py, which say why; a test holds both to the same blocks.
 *
 * Samples that the radio loses leave no trace in the bytes. What is late comes in a burst and catches up with the time;
 * what is lost stays behind it. So samples after a pause are held until one or the other is known, and `first_sample`
 * of a block counts what never came, too.
 */
import { halfToEven } from "./readings.js";

const BLOCK_SAMPLES = 64;
/** Samples a second of every ThinkGear chip. */
const RATE_HZ = 512;
/** A headset sends 512 of the former and one of the latter a second: lost bytes tell how many samples were lost. */
const RAW_FRAME_BYTES = 8;
const SECOND_FRAME_BYTES = 36;

/** Whole seconds without damage that are compared; so many must agree, and so many to change a rate that is known. */
const SECONDS = 6;
const STEADY_SECONDS = 3;
const CHANGE_SECONDS = 5;
const TOLERANCE = 0.01;
/** A measured rate within the tolerance of one of these is that one. */
const USUAL_HZ = [RATE_HZ, 250, 256, 500];

const PAUSE_S = 0.25;
const CONFIRM_S = 1;
const HELD_MAX_S = 5;
const LOSS_MIN_S = 0.1;
/** Samples that are lost one by one are counted when so much has come together. */
const CREEP_S = 0.15;
/** The usual delay is the least one of so many seconds. */
const USUAL_S = 30;
const RECENT_S = 3;
/** Arrivals that are kept until the rate is known: a minute of them. */
const EARLY_MAX_ARRIVALS = 10_000;

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

/** Measure how many samples a headset sends between two of its frames of a second. */
export class SamplingRate {
  /** The rate to reckon with, the last steady one; that of a ThinkGear chip before. */
  rateHz = RATE_HZ;
  /** The rate as it is; null while the seconds do not agree. */
  measuredHz = null;
  /** `rateHz` once it has been steady. */
  knownHz = null;
  #seconds = [];
  #samples = 0;
  #isWhole = false;

  onSamples(n) {
    this.#samples += n;
  }

  /** Leave out the second that has lost bytes. */
  onDamage() {
    this.#isWhole = false;
  }

  /** Note a frame of a second. */
  onSecond() {
    if (this.#isWhole && this.#samples > 0) {
      this.#seconds.push(this.#samples);
      if (this.#seconds.length > SECONDS) this.#seconds.shift();
      this.#measure();
    }
    this.#samples = 0;
    this.#isWhole = true;
  }

  #measure() {
    const middle = median(this.#seconds);
    const isNear = (hz, to) => Math.abs(hz - to) <= TOLERANCE * to;
    const agreeing = this.#seconds.filter((n) => isNear(n, middle));
    const usual = USUAL_HZ.reduce((one, other) => (Math.abs(other - middle) < Math.abs(one - middle) ? other : one));
    const rateHz = isNear(middle, usual) ? usual : halfToEven(middle);
    const isOther = this.knownHz !== null && this.knownHz !== rateHz;
    const wanted = isOther ? CHANGE_SECONDS : Math.max(STEADY_SECONDS, this.#seconds.length / 2);
    const isSteady = agreeing.length >= wanted;
    this.measuredHz = isSteady ? halfToEven(sum(agreeing) / agreeing.length) : null;
    if (isSteady) this.rateHz = this.knownHz = rateHz;
  }
}

function median(numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Compare the samples of one session with a steady clock; all times are of that clock, in seconds. */
class SampleClock {
  #beganS = null;
  /** The time that the samples took, those that are missing too. */
  #countedS = 0;
  #lastS = 0;
  /** The least delay of each of the last seconds. */
  #delays = [];
  #second = 0;
  /** When the flow went on after the first pause that is not understood yet, and after the last one. */
  #pausedS = null;
  #resumedS = 0;
  /** The least delay after each pause since then. */
  #leasts = [];
  /** What came before the rate was known: [number of samples, time; null: they are lost]. */
  #early = [];
  #lostEarly = 0;

  /** The number of pauses that are not understood yet. */
  get pauses() {
    return this.#leasts.length;
  }

  /** Count samples that are known to be lost; `rateHz` is null while it is not known. */
  onLost(n, rateHz) {
    if (rateHz === null) this.#keepEarly(n, null);
    else this.#countedS += n / rateHz;
  }

  /** Count samples that arrived now; return how many are missing at each pause. Null: not known yet, hold them. */
  onSamples(n, rateHz, atS) {
    if (rateHz === null) {
      this.#keepEarly(n, atS);
      return [0];
    }
    for (const [early, earlyS] of this.#early.splice(0)) {
      if (earlyS === null) this.onLost(early, rateHz);
      else this.#lostEarly += sum(this.#count(early, rateHz, earlyS) ?? []);
    }
    const missing = this.#count(n, rateHz, atS);
    return missing === null ? null : this.#withEarly(missing);
  }

  /** Return how many samples are missing at each pause; no more come to tell. */
  decide(rateHz) {
    return this.#withEarly(this.#decided(rateHz));
  }

  #keepEarly(n, atS) {
    this.#early.push([n, atS]);
    if (this.#early.length > EARLY_MAX_ARRIVALS) this.#early.shift();
  }

  #withEarly(missing) {
    const lostEarly = this.#lostEarly;
    this.#lostEarly = 0;
    return [lostEarly + sum(missing.slice(0, 1)), ...missing.slice(1)];
  }

  #count(n, rateHz, atS) {
    if (this.#beganS === null) {
      this.#beganS = this.#lastS = atS;
      return [0];
    }
    this.#countedS += n / rateHz;
    const delayS = atS - this.#beganS - this.#countedS;
    const isPause = atS - this.#lastS >= PAUSE_S;
    this.#lastS = atS;
    if (isPause && this.#delays.length > 0) {
      this.#pausedS ??= atS;
      this.#resumedS = atS;
      this.#leasts.push(delayS);
    }
    if (this.#pausedS === null) return [this.#lostOneByOne(delayS, rateHz, atS)];
    const last = this.#leasts.length - 1;
    this.#leasts[last] = Math.min(this.#leasts[last], delayS);
    const isLate = this.#leasts[last] - Math.min(...this.#delays) > LOSS_MIN_S;
    if (isLate && atS - this.#resumedS < CONFIRM_S && atS - this.#pausedS < HELD_MAX_S) return null;
    return this.#decided(rateHz);
  }

  /** Of what is late after a pause, only what stays late is missing. */
  #decided(rateHz) {
    const leasts = this.#leasts;
    this.#leasts = [];
    this.#pausedS = null;
    let usualS = this.#delays.length > 0 ? Math.min(...this.#delays) : 0;
    return leasts.map((_, n) => {
      const lateS = Math.min(...leasts.slice(n)) - usualS;
      const lost = lateS > LOSS_MIN_S ? this.#lose(lateS, rateHz) : 0;
      if (lost !== 0) usualS += lateS;
      return lost;
    });
  }

  #lostOneByOne(delayS, rateHz, atS) {
    if (this.#delays.length === 0 || Math.trunc(atS) !== this.#second) {
      this.#second = Math.trunc(atS);
      this.#delays.push(delayS);
      if (this.#delays.length > USUAL_S) this.#delays.shift();
    }
    const last = this.#delays.length - 1;
    this.#delays[last] = Math.min(this.#delays[last], delayS);
    const lateS = Math.min(...this.#delays.slice(-RECENT_S)) - Math.min(...this.#delays);
    return lateS > CREEP_S ? this.#lose(lateS, rateHz) : 0;
  }

  #lose(lateS, rateHz) {
    const lost = halfToEven(lateS * rateHz);
    this.#countedS += lost / rateHz;
    return lost;
  }
}

/** Number the raw samples of one session after the other, and cut them into blocks for `NeuroOneStudent.sendRaw`. */
export class RawBlocks {
  /** Samples that never came, and blocks, since this was made. */
  counters = { raw_samples_missing: 0, raw_blocks: 0 };

  #rate;
  #clock;
  /** Samples that do not fill a block yet, when the last of them arrived, and the number of the first. */
  #samples;
  #arrivedMs;
  #first;
  #hasBlocks;
  #lostBytes;
  /** Samples after a pause, while it is not known how many are missing at it. */
  #held;

  constructor() {
    this.begin();
  }

  /** Start a new session; call `end` for the last samples of the one before. */
  begin() {
    this.#rate = new SamplingRate();
    this.#clock = new SampleClock();
    this.#samples = [];
    this.#arrivedMs = 0;
    this.#first = 0;
    this.#hasBlocks = false;
    this.#lostBytes = 0;
    this.#held = [];
  }

  /**
   * Return the blocks that a decoder's events complete. `seconds` are the frames of a second among them
   * (`HeadsetReadings.seconds`), `nowMs` the time of a steady clock and `timeMs` that of the day.
   */
  push(events, seconds, nowMs, timeMs) {
    const n = sum(events.map((event) => rawSamples(event).length));
    const known = this.#held.length > 0 ? null : [0]; // samples alone tell how many are missing
    const missing = n > 0 ? this.#clock.onSamples(n, this.#rate.knownHz, nowMs / 1000) : known;
    const blocks = missing === null ? [] : this.#release(missing);
    for (const event of events) {
      if (event.type === "skipped") {
        this.#rate.onDamage();
        this.#lostBytes += event.bytes;
        if (this.#held.length === 0) blocks.push(...this.#endBlock());
        continue;
      }
      this.#countLost(timeMs);
      const samples = rawSamples(event);
      this.#rate.onSamples(samples.length);
      if (samples.length > 0 && missing === null) {
        this.#held.push({ samples, timeMs, missing: 0, pauses: this.#clock.pauses });
      } else if (samples.length > 0) {
        blocks.push(...this.#add(samples, timeMs));
      }
      if (seconds.includes(event)) this.#rate.onSecond();
    }
    return blocks;
  }

  /** Return the samples that do not fill a block, before a gap or the end of the session. */
  end() {
    return [...this.#release(this.#clock.decide(this.#rate.rateHz)), ...this.#endBlock()];
  }

  /** Count the samples that bytes without a frame had, before frames that follow them. */
  #countLost(timeMs) {
    const bytes = this.#lostBytes;
    this.#lostBytes = 0;
    if (bytes === 0 || !(this.#hasBlocks || this.#samples.length > 0)) return; // else it was joined in mid-frame
    const hasSecond = bytes % RAW_FRAME_BYTES === SECOND_FRAME_BYTES % RAW_FRAME_BYTES;
    const rawBytes = bytes - (hasSecond ? Math.min(SECOND_FRAME_BYTES, bytes) : 0);
    const lost = halfToEven(rawBytes / RAW_FRAME_BYTES);
    this.#clock.onLost(lost, this.#rate.knownHz);
    if (this.#held.length > 0) this.#held.push({ samples: [], timeMs, missing: lost, pauses: this.#clock.pauses });
    else this.#first += lost;
  }

  /** Return the blocks of the samples that were held; so many are `lost` at each pause before and among them. */
  #release(lost) {
    this.counters.raw_samples_missing += sum(lost);
    const blocks = [];
    let left = lost;
    for (const { samples, timeMs, missing, pauses } of this.#held.splice(0)) {
      blocks.push(...this.#skip(sum(left.slice(0, pauses))), ...this.#skip(missing), ...this.#add(samples, timeMs));
      left = left.map((each, n) => (n < pauses ? 0 : each));
    }
    return [...blocks, ...this.#skip(sum(left))];
  }

  #skip(lost) {
    const blocks = lost === 0 ? [] : this.#endBlock();
    this.#first += lost;
    return blocks;
  }

  #add(samples, timeMs) {
    for (const each of samples) this.#samples.push(each);
    this.#arrivedMs = timeMs;
    const blocks = [];
    while (this.#samples.length >= BLOCK_SAMPLES) blocks.push(this.#block());
    return blocks;
  }

  #endBlock() {
    return this.#samples.length === 0 ? [] : [this.#block()];
  }

  #block() {
    const block = {
      first_sample: this.#first,
      time: new Date(this.#arrivedMs).toISOString().replace("Z", "000Z"),
      rate_hz: this.#rate.rateHz,
      measured_hz: this.#rate.measuredHz,
      samples: this.#samples.splice(0, BLOCK_SAMPLES),
    };
    this.#first += block.samples.length;
    this.#hasBlocks = true;
    this.counters.raw_blocks += 1;
    return block;
  }
}

function rawSamples(event) {
  if (event.type === "raw") return event.samples;
  if (event.type !== "frame") return [];
  return event.rows.filter(({ quantity }) => quantity === "raw").map(({ value }) => value);
}
