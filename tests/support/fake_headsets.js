/** A radio and a port in the place of the browser's own. They bring bytes, cut anywhere; `pace` returns true to end the link. */

const bytesOf = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
const turn = (ms = 0) => new Promise((wake) => setTimeout(wake, ms));
/** As fast as the page takes it. */
const atOnce = (at) => at % 4200 === 0 && turn();

/** What a phone's radio brings: the parts of the scripts, one for each connection, in notifications of 20 bytes. */
class FakeDevice extends EventTarget {
  id = "a headset";
  name = "BrainLink_Lite";
  gatt = { connect: async () => this.connect(), disconnect: () => (this.disconnects += 1) };
  disconnects = 0;
  written = [];

  constructor(service, parts, pace = atOnce) {
    super();
    Object.assign(this, { service, parts, pace });
  }

  connect() {
    if (this.parts.length === 0) throw new DOMException("out of reach", "NetworkError");
    const characteristic = new EventTarget();
    characteristic.startNotifications = async () => void this.play(characteristic, this.parts.shift());
    characteristic.writeValue = async (bytes) => void this.written.push(...bytes);
    return {
      getPrimaryService: async (id) => {
        if (id !== this.service) throw new DOMException("no such service", "NotFoundError");
        return { getCharacteristic: async () => characteristic };
      },
    };
  }

  async play(characteristic, bytes) {
    const { disconnects } = this;
    for (let at = 0; at < bytes.length; at += 20) {
      const padded = new Uint8Array([9, ...bytes.slice(at, at + 20), 9]); // a view into a larger buffer
      characteristic.value = new DataView(padded.buffer, 1, padded.length - 2);
      characteristic.dispatchEvent(new Event("characteristicvaluechanged"));
      const isEnd = await this.pace(at, Math.min(20, bytes.length - at));
      if (this.disconnects !== disconnects) return;
      if (isEnd === true) break;
    }
    this.dispatchEvent(new Event("gattserverdisconnected"));
  }
}

/** A port that brings what `answer` gives for a speed and what was written, in chunks of 7 bytes. */
class FakePort {
  opened = [];
  written = [];

  constructor(answer, isEndless = () => false, pace = atOnce) {
    Object.assign(this, { answer, isEndless, pace });
  }

  async open({ baudRate }) {
    if (this.readable) throw new DOMException("it is open", "InvalidStateError");
    this.opened.push(baudRate);
    let feed;
    this.readable = new ReadableStream({ start: (controller) => (feed = controller), cancel: () => (feed = null) });
    const bring = async (bytes) => {
      do {
        for (let at = 0; feed !== null && at < bytes.length; at += 7) {
          feed.enqueue(bytes.slice(at, at + 7));
          if ((await this.pace(at, Math.min(7, bytes.length - at))) === true) this.unplug();
        }
      } while (feed !== null && this.isEndless(baudRate));
    };
    this.writable = new WritableStream({
      write: (bytes) => {
        this.written.push(...bytes);
        bring(this.answer(baudRate, bytes));
      },
    });
    this.unplug = () => {
      feed?.error(new DOMException("The device has been lost.", "NetworkError"));
      feed = this.readable = null;
    };
    bring(this.answer(baudRate, null));
  }

  async close() {
    if (this.readable?.locked) throw new TypeError("it is locked");
    this.readable = null;
  }
}

/** Plays bytes at a rate. A page that is loaded anew goes on where it was before; `cuts` has where each link began. */
class Capture {
  isCut = false;

  constructor(bytes, bytesPerS) {
    Object.assign(this, { bytes, bytesPerS });
  }

  get at() {
    return Number(sessionStorage.at ?? 0);
  }

  /** It pauses here. */
  get limit() {
    return Number(sessionStorage.limit ?? Infinity);
  }

  set limit(at) {
    sessionStorage.limit = at;
  }

  get cuts() {
    return JSON.parse(sessionStorage.cuts ?? "[]");
  }

  /** As an array of parts: one as long as there are bytes. */
  get length() {
    return this.at < this.bytes.length ? 1 : 0;
  }

  shift() {
    sessionStorage.cuts = JSON.stringify([...this.cuts, this.at]);
    [this.beganMs, this.begin] = [performance.now(), this.at];
    return this.bytes.slice(this.at);
  }

  pace = async (at, size) => {
    const end = at + size;
    sessionStorage.at = this.begin + end;
    const earlyMs = (end / this.bytesPerS) * 1000 - (performance.now() - this.beganMs);
    if (earlyMs > 15) await turn(earlyMs);
    while (this.at >= this.limit && !this.isCut) await turn(20);
    const { isCut } = this;
    this.isCut = false;
    return isCut;
  };
}

/** Put a headset that plays a capture into the browser, for each of the `ways`; take the others away. */
function giveHeadset(capture, ways) {
  const device = new FakeDevice(0xffe0, capture, capture.pace);
  const answer = (_baud, written) => (written === null && capture.length > 0 ? capture.shift() : new Uint8Array());
  const port = new FakePort(answer, () => false, capture.pace);
  const fakes = {
    bluetooth: { requestDevice: async () => device, getAvailability: async () => true },
    serial: { requestPort: async () => port, getPorts: async () => [port] },
  };
  for (const [way, fake] of Object.entries(fakes)) {
    const value = ways.includes(way) ? fake : undefined;
    Object.defineProperty(navigator, way, { value, configurable: true });
  }
}
