// Run by tests/unit/serial_bridge/headsets/test_clients.py, which compares the answers with the bridge's own parts.
// A line of the input is {"hex" or "path", "sizes": bytes of one piece after the other}: the answer is the events,
// neighbours of a kind in one, the readings, and the counters. Or it is {"steps": what happens to a link, when in ms}:
// the answer is the link's state, what is to be done and what to send, whenever a step asks for it. Or it is
// {"arrivals": [ms, hex; null: the session ends]}: the answer is the blocks of raw samples and their counters.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { LinkMonitor } from "./link_monitor.js";
import { RawBlocks } from "./raw_blocks.js";
import { HeadsetReadings } from "./readings.js";
import { ThinkGearDecoder } from "./thinkgear.js";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytesOf = (text) => new Uint8Array(Buffer.from(text, "hex"));

function plain(value) {
  if (value instanceof Uint8Array) return hex(value);
  if (Array.isArray(value)) return value.map(plain);
  return Number.isFinite(value) ? value : `${value}`;
}

function decode({ path, hex: text, sizes }) {
  const bytes = path === undefined ? bytesOf(text) : new Uint8Array(readFileSync(path));
  const decoder = new ThinkGearDecoder();
  const maker = new HeadsetReadings();
  const events = [];
  const readings = [];
  for (let at = 0, n = 0; at < bytes.length; n += 1) {
    const end = at + sizes[n % sizes.length];
    const found = decoder.push(bytes.subarray(at, end));
    readings.push(...maker.push(found));
    for (const event of found) events.push(event);
    at = end;
  }
  const rest = decoder.flush();
  readings.push(...maker.push(rest));
  const answer = [];
  for (const { type, samples, bytes: skipped, rows, payload } of [...events, ...rest]) {
    const last = answer.at(-1);
    if (type === "frame") answer.push([type, rows.map((row) => [row.quantity, plain(row.value), row.code, row.level]), hex(payload)]);
    else if (type === "raw" && last?.[0] === type) last[1].push(...samples);
    else if (type === "raw") answer.push([type, [...samples]]);
    else if (last?.[0] === type) last[1] += skipped;
    else answer.push([type, skipped]);
  }
  return [answer, readings, { ...decoder.counters, ...maker.counters }];
}

function follow({ steps }) {
  const monitor = new LinkMonitor();
  const decoder = new ThinkGearDecoder();
  const maker = new HeadsetReadings();
  const answers = [];
  for (const [nowMs, what, value] of steps) {
    if (what === "open") monitor.onOpen(nowMs);
    else if (what === "fault") monitor.onFault(value);
    else if (what === "bytes") {
      monitor.onBytes(nowMs);
      const events = decoder.push(bytesOf(value));
      monitor.onEvents(events, nowMs);
      if (maker.push(events).length > 0) monitor.onReading(nowMs);
    } else {
      const { link, status } = monitor.state(nowMs);
      answers.push([link, status, monitor.hasFrames, monitor.mustReopen(nowMs), hex(monitor.command(nowMs) ?? [])]);
    }
  }
  return answers;
}

function cut({ arrivals }) {
  const maker = new HeadsetReadings();
  const blocks = new RawBlocks();
  const answer = [];
  let decoder = new ThinkGearDecoder();
  for (const [ms, text] of arrivals) {
    const events = text === null ? decoder.flush() : decoder.push(bytesOf(text));
    maker.push(events);
    answer.push(...blocks.push(events, maker.seconds, ms, ms));
    if (text !== null) continue;
    answer.push(...blocks.end());
    blocks.begin();
    maker.begin();
    decoder = new ThinkGearDecoder();
  }
  return [answer, blocks.counters];
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const answer = asked.steps !== undefined ? follow : asked.arrivals !== undefined ? cut : decode;
  console.log(JSON.stringify(answer(asked)));
}
