// Run by tests/unit/serial_bridge/headsets/test_thinkgear_js.py, which compares the answers with the bridge's decoder.
// Each line of the input is {"hex" or "path", "sizes": bytes of one piece after the other}; each line of the output the
// events, neighbours of a kind in one, and the counters.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { ThinkGearDecoder } from "./thinkgear.js";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const plain = (value) =>
  value instanceof Uint8Array ? hex(value) : Array.isArray(value) ? value.map(plain) : Number.isFinite(value) ? value : `${value}`;

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const bytes = new Uint8Array(asked.path === undefined ? Buffer.from(asked.hex, "hex") : readFileSync(asked.path));
  const decoder = new ThinkGearDecoder();
  const events = [];
  for (let at = 0, n = 0; at < bytes.length; n += 1) {
    const end = at + asked.sizes[n % asked.sizes.length];
    events.push(...decoder.push(bytes.subarray(at, end)));
    at = end;
  }
  events.push(...decoder.flush());
  const answer = [];
  for (const { type, samples, bytes: skipped, rows, payload } of events) {
    const last = answer.at(-1);
    if (type === "frame") answer.push([type, rows.map((row) => [row.quantity, plain(row.value), row.code, row.level]), hex(payload)]);
    else if (type === "raw" && last?.[0] === type) last[1].push(...samples);
    else if (type === "raw") answer.push([type, [...samples]]);
    else if (last?.[0] === type) last[1] += skipped;
    else answer.push([type, skipped]);
  }
  console.log(JSON.stringify([answer, decoder.counters]));
}
