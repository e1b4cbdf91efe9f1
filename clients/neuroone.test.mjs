// Run by tests/integration/test_ws_gateway_clients.py against a real gateway: node neuroone.test.mjs URL
import assert from "node:assert/strict";
import { once } from "node:events";

import { delayMs, MemoryStore, NeuroOneDashboard, NeuroOneStudent } from "./neuroone.js";

const url = process.argv[2];
const VALUES = {
  attention: 85, meditation: 72, delta: 1, theta: 2, low_alpha: 3, high_alpha: 4, low_beta: 5, high_beta: 6,
  low_gamma: 7, mid_gamma: 8,
};

/** Return the next event of a type. */
async function heard(client, type) {
  const [event] = await once(client, type, { signal: AbortSignal.timeout(10_000) });
  return event.detail;
}

async function emptied(student) {
  while (student.waiting > 0) await heard(student, "ack");
}

// Delays double up to a cap and are spread.
assert.equal(delayMs(0, () => 1), 500);
assert.equal(delayMs(1, () => 0), 500);
assert.equal(delayMs(99, () => 1), 10_000);

// A dashboard receives a student's readings; the student drops what is acknowledged.
const dashboard = new NeuroOneDashboard(url, { code: "JS" });
dashboard.start();
await heard(dashboard, "welcome");
const sockets = [];
class Recorded extends WebSocket {
  constructor(...words) {
    super(...words);
    sockets.push(this);
  }
}
const store = new MemoryStore();
const student = new NeuroOneStudent(url, { name: "José", code: "JS", store, WebSocket: Recorded });
assert.equal(student.send(VALUES), 0); // before there is a connection: it waits
const first = heard(dashboard, "reading");
await student.start();
const { name, attention, seq, session } = await first;
assert.deepEqual([name, attention, seq, session], ["José", 85, 0, student.session]);
await emptied(student);

// The connection breaks: the client reconnects by itself, resumes its session and sends what waited.
sockets[0].close(4000);
await heard(student, "close");
for (let number = 1; number <= 5; number += 1) student.send(VALUES);
assert.equal(student.waiting, 5);
const seqs = [];
dashboard.addEventListener("reading", ({ detail }) => seqs.push(detail.seq));
await heard(student, "welcome");
await emptied(student);
while (seqs.length < 5) await heard(dashboard, "reading");
assert.deepEqual(seqs, [1, 2, 3, 4, 5]);
assert.equal(sockets.length, 2);

// A marker is acknowledged and reaches the dashboard.
const marked = heard(dashboard, "event");
student.mark({ id: "m1", text: "eyes closed" });
assert.equal((await marked).text, "eyes closed");

student.stop();
dashboard.stop();
console.log("ok");
