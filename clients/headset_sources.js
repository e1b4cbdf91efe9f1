/** Ways to a headset in a browser: Web Bluetooth and Web Serial. */
import { DONGLE_BAUD, NORMAL_BAUD, RAW_BAUD } from "./thinkgear.js";

const bluetoothId = (start) => `${start}-2c94-11e3-9e06-0002a5d5c51b`;
/** How headsets send their bytes over Bluetooth LE: what notifies, and what starts it. Each cuts frames anywhere. */
const PROFILES = [
  { service: 0xffe0, notify: [0xffe1], write: 0xffe1 }, // HM-10 modules
  {
    service: "6e400001-b5a3-f393-e0a9-e50e24dcca9e", // Nordic UART: BrainLink
    notify: ["6e400003-b5a3-f393-e0a9-e50e24dcca9e"],
    write: "6e400002-b5a3-f393-e0a9-e50e24dcca9e",
  },
  {
    service: bluetoothId("039afff0"), // MindWave Mobile 2: experimental, never tried with a real one
    notify: [bluetoothId("039afff8"), bluetoothId("039afff4")],
    write: bluetoothId("039affa0"),
    start: [0x17, 0x15], // eSense on, raw on
    isExperimental: true,
  },
];
const NAMES = ["MindWave", "BrainLink", "NeuroSky", "Sichiray", "MyndBand", "HC-0", "HM-10"];

/** What the browser's list of Bluetooth headsets shows, and which services the page may use. */
export const BLUETOOTH_OPTIONS = {
  filters: [
    ...PROFILES.map(({ service }) => ({ services: [service] })),
    ...NAMES.map((namePrefix) => ({ namePrefix })),
  ],
  optionalServices: PROFILES.map(({ service }) => service),
};
/** The serial port profile of Bluetooth: with it the list has paired headsets too (Chrome 117). */
const SERIAL_OPTIONS = { allowedBluetoothServiceClassIds: ["00001101-0000-1000-8000-00805f9b34fb"] };

/** Return which ways this browser has: `bluetooth`, `serial`, both or none (Safari, Firefox, every browser of iOS). */
export function waysToConnect(browser = globalThis.navigator) {
  return ["bluetooth", "serial"].filter((way) => browser?.[way] !== undefined);
}

/** Let the user choose a headset in reach; call it in a click. Throws NotFoundError if the user chooses none. */
export async function chooseBluetooth(bluetooth = navigator.bluetooth) {
  return new BluetoothSource(await bluetooth.requestDevice(BLUETOOTH_OPTIONS));
}

/** Let the user choose a serial port; call it in a click. Throws NotFoundError if the user chooses none. */
export async function chooseSerial(serial = navigator.serial) {
  return new SerialSource(await serial.requestPort(SERIAL_OPTIONS));
}

/** Why a link is gone or cannot be made; `link` is a state of the contract. */
export class LinkFault extends Error {
  constructor(link, message) {
    super(message);
    this.link = link;
  }
}

/** A serial port of Web Serial: a cable, an RF dongle, or a headset that is paired with the computer. */
export class SerialSource {
  kind = "serial";
  speeds = [RAW_BAUD, DONGLE_BAUD, NORMAL_BAUD];
  #port;

  constructor(port) {
    this.#port = port;
  }

  /** Open the port; `onBytes` gets what arrives. Throws LinkFault. */
  async open(baudRate, onBytes) {
    const port = this.#port;
    try {
      await port.open({ baudRate, bufferSize: 4096 });
    } catch (error) {
      throw new LinkFault(LINK_OF_ERROR[error.name] ?? "no_port", `${error}`);
    }
    let reader = null;
    let writer = null;
    let isClosing = false;
    const pump = async () => {
      while (port.readable && !isClosing) {
        reader = port.readable.getReader(); // after a framing or parity error there is a new one
        try {
          for (;;) {
            const { value, done } = await reader.read();
            if (done) return;
            onBytes(value);
          }
        } catch {
          // the line is damaged, or the port is gone: then there is no stream any more
        } finally {
          reader.releaseLock();
        }
      }
    };
    const closed = pump();
    return {
      closed,
      write: async (bytes) => {
        writer = port.writable.getWriter();
        try {
          await writer.write(bytes);
        } finally {
          writer.releaseLock();
        }
      },
      close: async () => {
        isClosing = true;
        writer?.releaseLock(); // a port is not closed while a write that hangs holds it
        await reader?.cancel().catch(() => {});
        await closed;
        await port.close();
      },
    };
  }
}

/** A headset over Bluetooth LE. One that is paired in Windows is not in the browser's list: remove it there first. */
export class BluetoothSource {
  kind = "bluetooth";
  speeds = [RAW_BAUD];
  #device;
  #listening = null;

  constructor(device) {
    this.#device = device;
  }

  /** The headset's name, as the browser's list showed it. */
  get name() {
    return this.#device.name ?? "";
  }

  /** Connect and ask for the bytes; `onBytes` gets what arrives. Aborting `signal` ends it. Throws LinkFault. */
  async open(_baudRate, onBytes, signal) {
    const device = this.#device;
    const listening = new AbortController();
    this.#listening = listening;
    const closed = new Promise((_, reject) => {
      const onLost = () => reject(new LinkFault("unplugged", "the headset went away"));
      device.addEventListener("gattserverdisconnected", onLost, { signal: listening.signal });
    });
    closed.catch(() => {}); // it may be lost before anybody waits
    const close = async () => {
      listening.abort();
      if (this.#listening === listening) device.gatt.disconnect(); // else the device belongs to a later opening
    };
    // A connection under way ends by disconnecting only; then what waits for it is refused.
    signal?.addEventListener("abort", close, { signal: listening.signal });
    try {
      const server = await device.gatt.connect();
      const write = await subscribe(server, ({ target }) => onBytes(bytesOf(target.value)), listening.signal);
      return { closed, write, close };
    } catch (error) {
      await close();
      throw error instanceof LinkFault ? error : new LinkFault(LINK_OF_ERROR[error.name] ?? "no_port", `${error}`);
    }
  }
}

const LINK_OF_ERROR = {
  InvalidStateError: "port_busy",
  SecurityError: "no_permission",
  NotAllowedError: "no_permission",
};

/** Find a profile that we know, and start its notifications; return how to write to it. */
async function subscribe(server, onValue, signal) {
  for (const { service: id, notify, write: writeId, start = [] } of PROFILES) {
    const service = await server.getPrimaryService(id).catch((error) => {
      if (error.name === "NotFoundError") return null;
      throw error;
    });
    if (service === null) continue;
    for (const each of notify) {
      const characteristic = await service.getCharacteristic(each);
      characteristic.addEventListener("characteristicvaluechanged", onValue, { signal });
      await characteristic.startNotifications();
    }
    const write = async (bytes) => (await service.getCharacteristic(writeId)).writeValue(bytes);
    for (const command of start) await write(Uint8Array.of(command));
    return write;
  }
  throw new LinkFault("no_frames", "no service of a headset that is known here");
}

function bytesOf({ buffer, byteOffset, byteLength }) {
  return new Uint8Array(buffer.slice(byteOffset, byteOffset + byteLength));
}
