// Run by tests/integration/test_ws_gateway_clients.py: node neuroone.relay.test.mjs URL SECONDS, through a relay that it
// controls by lines on stdout. The client's time runs fast, but waits for what the real gateway has still to answer.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

import { MemoryStore, NeuroOneStudent } from "./neuroone.js";

const [url, seconds] = [process.argv[2], Number(process.argv[3])];
const VALUES = {
  attention: 85, meditation: 72, delta: 1, theta: 2, low_alpha: 3, high_alpha: 4, low_beta: 5, high_beta: 6,
  low_gamma: 7, mid_gamma: 8,
};
const STEP_MS = 250;
/** Real time: how long an answer is waited for before the client's time goes on, and how often it is looked for. */
const ANSWER_WITHIN_MS = 1000;
const POLL_MS = 1;
const OUTAGE_S = 25;
const PERIOD_S = 60;
const RECONNECTED_WITHIN_S = 15;
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const startedAt = Date.now();

/** Tell the test what the relay is to do, and wait until it does. */
async function relay(what) {
  console.log(`relay ${what}`);
  await answers.next();
}

const timers = new Map();
let now_ms = 0;
let timerNumber = 0;
const clock = {
  now: () => now_ms,
  time: () => startedAt + now_ms,
  clearTimeout: (timer) => timers.delete(timer),
  setTimeout: (call, ms) => {
    timers.set((timerNumber += 1), { call, due: now_ms + ms });
    return timerNumber;
  },
};

async function advance(ms) {
  now_ms += ms;
  for (const [id, { call, due }] of [...timers].sort(([, one], [, other]) => one.due - other.due)) {
    if (due <= now_ms && timers.delete(id)) call();
  }
  await pause(POLL_MS);
}

const sockets = [];
class Counted extends WebSocket {
  constructor(...words) {
    super(...words);
    sockets.push(this);
  }
}

/** Sockets up to here are half-open: nothing is to be expected of them. */
let deadUpTo = 0;
let isHealthy = true;

/** Let the client's time go on once the gateway has answered what it can. */
async function answered(student) {
  const until = Date.now() + ANSWER_WITHIN_MS;
  const isDue = () => isHealthy && sockets.length > deadUpTo && sockets.at(-1).readyState < 2 && (!student.isWelcome || student.waiting > 3);
  while (isDue() && Date.now() < until) await pause(POLL_MS);
}

async function pass(student, time_s) {
  for (let time_ms = 0; time_ms < 1000 * time_s; time_ms += STEP_MS) {
    await answered(student);
    await advance(STEP_MS);
  }
}

async function emptied(student) {
  for (let time_s = 0; student.waiting > 0; time_s += 1) {
    assert.ok(time_s < 60, `${student.waiting} readings still wait`);
    await pass(student, 1);
  }
}

const make = (name, options = {}) => new NeuroOneStudent(url, { name, code: "JS", WebSocket: Counted, clock, ...options });
const VALUE = (delta) => ({ ...VALUES, delta });

// A bad network.
const faults = ["freeze", "hold", "cut", "refuse", "deafen", "delay"];
const student = make("Rede");
await student.start();
let repairedAt = null;
let slowest_s = 0;
for (let second = 0; second < seconds; second += 1) {
  const [round, phase] = [Math.floor(second / PERIOD_S), second % PERIOD_S];
  if (phase === 10) {
    const fault = faults[round % faults.length];
    isHealthy = fault === "freeze" || fault === "deafen" || fault === "cut";
    if (fault === "freeze" || fault === "deafen") deadUpTo = sockets.length;
    await relay(fault);
    repairedAt = isHealthy ? second : null;
  } else if (phase === 10 + OUTAGE_S && !isHealthy) {
    await relay("heal");
    isHealthy = true;
    repairedAt = second;
  }
  student.send(VALUE(second));
  await pass(student, 1);
  if (repairedAt !== null && sockets.length > deadUpTo && student.isWelcome && student.waiting <= 5) {
    slowest_s = Math.max(slowest_s, second + 1 - repairedAt);
    repairedAt = null;
  }
}
await emptied(student);
assert.equal(student.dropped, 0);
assert.ok(slowest_s <= RECONNECTED_WITHIN_S, `it took ${slowest_s} s`);
student.stop();

// Two students of one tablet; the first one leaves while the network is away.
await relay("refuse");
isHealthy = false;
const store = new MemoryStore();
const ana = make("Ana", { store });
await ana.start();
for (let number = 0; number < 10; number += 1) ana.send(VALUE(number));
await pass(ana, 5);
ana.stop();
const bruno = make("Bruno", { store });
await bruno.start();
for (let number = 100; number < 110; number += 1) bruno.send(VALUE(number));
await relay("heal");
isHealthy = true;
await emptied(bruno);
for (let time_s = 0; (await store.load()).readings.length > 0; time_s += 1) {
  assert.ok(time_s < 120, "what the first one left must be delivered");
  await pass(bruno, 1);
}
bruno.stop();

// Two tabs of one student, on a connection that breaks.
const tabs = [make("Duas", { store }), make("Duas", { store })];
for (const tab of tabs) await tab.start();
for (let number = 0; number < 40; number += 1) {
  tabs[number % 2].send(VALUE(number));
  await pass(tabs[number % 2], 1);
  if (number === 20) await relay("cut");
}
for (const tab of tabs) {
  await emptied(tab);
  tab.stop();
}

// Stop and start ten times in a row.
const restless = make("Dez", { store });
for (let number = 0; number < 10; number += 1) {
  const started = restless.start();
  restless.send(VALUE(number));
  if (number % 3 > 0) await started;
  if (number % 3 > 1) await pass(restless, 1);
  restless.stop();
}
await restless.start();
for (let number = 10; number < 20; number += 1) {
  restless.send(VALUE(number));
  await pass(restless, 1);
}
await emptied(restless);
restless.stop();

// Thirty bad readings in a row, which only the gateway knows to be bad; then good ones.
const faulty = make("Ruim");
let refused = 0;
faulty.addEventListener("error", ({ detail }) => (refused += detail.reading !== undefined));
await faulty.start();
for (let number = 0; number < 30; number += 1) faulty.send({ ...VALUE(number), time: "yesterday" });
for (let number = 30; number < 40; number += 1) faulty.send(VALUE(number));
await emptied(faulty);
assert.equal(refused, 30);
faulty.stop();

console.log("ok", JSON.stringify({ slowest_s, connections: sockets.length }));
process.exit(0);
