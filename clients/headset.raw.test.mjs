// Run by tests/integration/test_raw_of_students.py: node headset.raw.test.mjs URL NAME. Lines of stdin are what arrives
// of a headset, [ms, bytes in base64]; "cut" is answered once all before it are sent, "end" ends the headset.
import { createInterface } from "node:readline";

import { Headset } from "./headset.js";
import { NeuroOneStudent } from "./neuroone.js";

const [url, name] = process.argv.slice(2);
const student = new NeuroOneStudent(url, { name, code: "A" });
const wanted = new Promise((resolve) => student.addEventListener("raw_wanted", resolve));
await student.start();
console.log("here");
await wanted;

const beganMs = Date.now();
let nowMs = 0;
let bring;
let lose;
const closed = new Promise((resolve) => (lose = resolve));
const link = { closed, write: async () => {}, close: async () => {} };
const source = { speeds: [57600], open: async (_speed, onBytes) => ((bring = onBytes), link) };
const headset = new Headset(source, { clock: () => nowMs, time: () => beganMs + nowMs });
headset.addEventListener("reading", ({ detail }) => student.send(detail));
headset.addEventListener("block", ({ detail }) => student.sendRaw(detail));
headset.addEventListener("session", () => headset.stop());
const ended = headset.start();

for await (const line of createInterface({ input: process.stdin })) {
  const arrived = JSON.parse(line);
  if (arrived === "cut") {
    console.log("cut");
  } else if (arrived === "end") {
    lose();
    await ended;
    console.log(JSON.stringify({ ...headset.counters, dropped: student.rawDropped }));
  } else {
    nowMs = arrived[0];
    bring(new Uint8Array(Buffer.from(arrived[1], "base64")));
  }
}
process.exit(0);
