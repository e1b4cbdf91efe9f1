/** The ways from this page to a headset: ask the user, and find again what was allowed before. */
import { BluetoothSource, chooseBluetooth, chooseSerial, SerialSource } from "./headset.js";

/** What this tab was connected to, so that a reload needs no click where the browser allows that. */
const KEPT = "neuroone.headset";

/** Let the user choose a headset or port; call it in a click. Throws NotFoundError if none is chosen. */
export async function choose(way) {
  if (way === "serial") {
    let port;
    const source = await chooseSerial({ requestPort: async (wanted) => (port = await navigator.serial.requestPort(wanted)) });
    keep({ way, id: infoOf(port), name: "" });
    return source;
  }
  let device;
  const radio = { requestDevice: async (wanted) => (device = await navigator.bluetooth.requestDevice(wanted)) };
  const source = await chooseBluetooth(radio);
  keep({ way, id: device.id ?? "", name: source.name });
  return source;
}

/** Return what this tab was connected to, `way` and `name`; null: nothing, or the user has ended it. */
export function lastWay() {
  try {
    const { way, name, id } = JSON.parse(sessionStorage.getItem(KEPT));
    return navigator[way] !== undefined ? { way, name: String(name), id } : null;
  } catch {
    return null;
  }
}

/** Return the source that this tab was connected to; null if the browser does not give it without a click. */
export async function findAgain() {
  const { way, id } = lastWay() ?? {};
  if (way === "serial") {
    const ports = (await navigator.serial.getPorts()).filter((port) => infoOf(port) === id);
    return ports.length === 1 ? new SerialSource(ports[0]) : null; // of two alike nobody knows which it was
  }
  const devices = way === "bluetooth" ? ((await navigator.bluetooth.getDevices?.()) ?? []) : [];
  const device = devices.find((each) => each.id === id);
  return device === undefined ? null : new BluetoothSource(device);
}

/** Forget what this tab was connected to. */
export function forgetWay() {
  sessionStorage.removeItem(KEPT);
}

function keep(last) {
  sessionStorage.setItem(KEPT, JSON.stringify(last));
}

function infoOf(port) {
  return JSON.stringify(port.getInfo?.() ?? {});
}
