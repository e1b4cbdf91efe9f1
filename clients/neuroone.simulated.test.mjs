// The client against a simulated network and gateway, with a simulated clock: node --test neuroone.simulated.test.mjs
import assert from "node:assert/strict";
import test from "node:test";

import { MemoryStore, NeuroOneDashboard, NeuroOneStudent } from "./neuroone.js";

const VALUES = {
  attention: 85, meditation: 72, delta: 1, theta: 2, low_alpha: 3, high_alpha: 4, low_beta: 5, high_beta: 6,
  low_gamma: 7, mid_gamma: 8,
};
const START_MS = Date.parse("2026-03-02T08:00:00Z");
const LATENCY_MS = 30;
const LINK_PERIOD_MS = 5000;
const RECONNECTED_WITHIN_MS = 15_000;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Time that passes only when a test says so. */
class Clock {
  #now = 0;
  #timers = new Map();
  #number = 0;

  now = () => this.#now;
  time = () => START_MS + this.#now;
  clearTimeout = (timer) => this.#timers.delete(timer);

  setTimeout = (call, ms) => {
    this.#number += 1;
    this.#timers.set(this.#number, { call, due: this.#now + ms });
    return this.#number;
  };

  async advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      await turn();
      let next = null;
      for (const [id, timer] of this.#timers) {
        if (timer.due <= end && (next === null || timer.due < next.timer.due)) next = { id, timer };
      }
      if (next === null) break;
      this.#timers.delete(next.id);
      this.#now = Math.max(this.#now, next.timer.due);
      next.timer.call();
    }
    this.#now = end;
  }

  /** Let time pass until something is true; return how long it took. */
  async until(condition, within_ms = RECONNECTED_WITHIN_MS) {
    const since = this.#now;
    while (!condition()) {
      assert.ok(this.#now - since <= within_ms, `not within ${within_ms} ms: ${condition}`);
      await this.advance(100);
    }
    return this.#now - since;
  }
}

/** A network and a gateway behind it. `network` is "up", "refusing" connections, "held" (delivers later) or "lost" (never). */
class World {
  clock = new Clock();
  network = "up";
  isDeaf = false;
  latency_ms = LATENCY_MS;
  broker = true;
  sockets = [];
  sessions = new Map();
  recorded = [];
  refused = 0;
  /** What students who come are told while the door keeps them out; null: they come in. */
  door = null;
  rawWanted = false;
  /** The raw blocks that a recorder has: it drops those with a seq that it had. */
  raw = [];
  rawHeard = 0;
  /** A broker keeps no raw blocks for a recorder that is away. */
  hasRecorder = true;
  /** Who waits at the door, and how each is let in. */
  atDoor = new Map();
  #held = [];

  constructor() {
    const world = this;
    this.WebSocket = class {
      readyState = 0;
      #peer = null; // the gateway's end: null before the handshake and after the end
      isCut = false;
      isHeld = false;

      constructor() {
        world.sockets.push(this);
        world.carry(this, () => this.#peer = world.accept(this));
      }

      send(text) {
        world.carry(this, () => this.#peer?.hear(JSON.parse(text)));
      }

      close() {
        this.readyState = 2;
        world.carry(this, () => {
          this.#peer?.end();
          this.#peer = null;
          world.carry(this, () => this.ended(1000), true);
        });
      }

      ended(code) {
        if (this.readyState === 3) return;
        this.readyState = 3;
        this.onclose?.({ code });
      }
    };
  }

  /** Carry something over the network, in order. */
  carry(socket, act, isDown = false) {
    if (socket.isCut || this.network === "lost" || (isDown && this.isDeaf)) return;
    if (this.network === "held" || socket.isHeld) this.#held.push(() => this.carry(socket, act, isDown));
    else {
      const way = isDown ? "downDue" : "upDue"; // nothing overtakes
      socket[way] = Math.max(socket[way] ?? 0, this.clock.now() + this.latency_ms);
      this.clock.setTimeout(() => socket.isCut || act(), socket[way] - this.clock.now());
    }
  }

  set up(_) {
    this.network = "up";
    this.isDeaf = false;
    this.latency_ms = LATENCY_MS;
    for (const socket of this.sockets) socket.isHeld = false;
    for (const deliver of this.#held.splice(0)) deliver();
  }

  /** All present connections are dead, and nobody is told. */
  cutSilently() {
    for (const socket of this.sockets) socket.isCut = true;
  }

  closeAll(code) {
    for (const socket of this.sockets) {
      if (socket.readyState < 3) this.clock.setTimeout(() => socket.ended(code), 0);
      socket.isCut = true;
    }
  }

  accept(socket) {
    if (this.network === "refusing") {
      socket.ended(1006);
      return null;
    }
    const say = (type, content) => this.carry(socket, () => socket.onmessage?.({ data: JSON.stringify({ type, ...content }) }), true);
    const end = (code) => this.carry(socket, () => socket.ended(code), true);
    let session = null;
    let bad = 0;
    this.carry(socket, () => {
      socket.readyState = 1;
      socket.onopen?.();
    }, true);
    const peer = {
      end: () => {},
      hear: (message) => {
        if (peer.isOver) return;
        if (message.type === "hello" && message.role === "student" && this.door !== null && !message.isAdmitted) {
          const tell = () => {
            if (!this.atDoor.has(socket) || socket.readyState > 1) return void this.atDoor.delete(socket);
            say("door", { state: this.door });
            this.clock.setTimeout(tell, LINK_PERIOD_MS);
          };
          this.atDoor.set(socket, { name: message.name, admit: () => peer.hear({ ...message, isAdmitted: true }) });
          tell();
        } else if (message.type === "hello") {
          this.atDoor.delete(socket);
          say("welcome", {});
          if (this.rawWanted) say("raw_wanted", { wanted: true });
          say("link", { broker: this.broker, recorder: true });
          this.say = say;
          if (message.role === "dashboard") {
            this.dashboard = say;
            return;
          }
          const known = this.sessions.get(message.session) ?? { next: 0, who: message };
          assert.deepEqual([message.name, message.code], [known.who.name, known.who.code], "a session has one student");
          known.kick?.();
          known.kick = () => {
            peer.isOver = true;
            end(4001);
          };
          session = known;
          this.sessions.set(message.session, known);
        } else if (message.type === "reading") {
          if (Number.isNaN(Date.parse(message.time))) {
            this.refused += 1;
            bad += 1;
            say("error", { code: "bad_value", field: "time", message: "time must be a date", seq: message.seq });
            if (bad === 10) {
              peer.isOver = true;
              end(1008);
            }
            return;
          }
          bad = 0;
          if (message.seq >= session.next) {
            session.next = message.seq + 1;
            this.recorded.push({ name: session.who.name, session: session.who.session, seq: message.seq, delta: message.delta });
          }
          if (this.broker) say("ack", { stage: "broker", seq: session.next - 1 });
        } else if (message.type === "raw") {
          assert.ok(session.next > 0 || this.recorded.length === 0);
          this.rawHeard += 1;
          const isNew = !this.raw.some(({ of, seq }) => of === session && seq >= message.seq);
          if (this.broker && this.hasRecorder && isNew) this.raw.push({ of: session, at: this.recorded.length, ...message });
        }
      },
    };
    return peer;
  }

  student(name, options = {}) {
    const { clock, WebSocket } = this;
    return new NeuroOneStudent("ws://gateway", { name, code: "7B", clock, WebSocket, ...options });
  }

  /** The number `delta` of all readings that were recorded under a name, in the order of their sessions. */
  of(name) {
    return this.recorded.filter((reading) => reading.name === name).map(({ delta }) => delta).sort((one, other) => one - other);
  }
}

const range = (from, to) => Array.from({ length: to - from }, (_, number) => from + number);

test("a half-open connection is noticed and replaced within 15 s, and nothing is lost or doubled", async () => {
  const world = new World();
  const student = world.student("Ana");
  await student.start();
  await world.clock.until(() => student.isWelcome);
  world.cutSilently();
  const before = world.sockets.length;
  const pulse = [];
  const took = await (async () => {
    const since = world.clock.now();
    while (world.sockets.length === before || !student.isWelcome) {
      pulse.push(student.send({ ...VALUES, delta: pulse.length }));
      await world.clock.advance(1000);
      assert.ok(world.clock.now() - since <= RECONNECTED_WITHIN_MS, "a dead connection must be noticed");
    }
    return world.clock.now() - since;
  })();
  assert.ok(took <= RECONNECTED_WITHIN_MS);
  await world.clock.until(() => student.waiting === 0);
  assert.deepEqual(world.of("Ana"), range(0, pulse.length));
  student.stop();
});

test("a first try that hangs does not keep it away for longer than 15 s", async () => {
  const world = new World();
  const student = world.student("Ana");
  await student.start();
  await world.clock.until(() => student.isWelcome);
  const before = world.sockets.length;
  world.cutSilently();
  world.network = "lost"; // for one more connection only, as when it is an old, pooled one
  const since = world.clock.now();
  for (let count = 0; world.sockets.length < before + 2 || !student.isWelcome; count += 1) {
    if (world.sockets.length > before) world.network = "up";
    if (count % 10 === 0) student.send({ ...VALUES, delta: count / 10 });
    await world.clock.advance(100);
    assert.ok(world.clock.now() - since <= RECONNECTED_WITHIN_MS, "the second try must be there in time");
  }
  await world.clock.until(() => student.waiting === 0);
  assert.deepEqual(world.of("Ana"), range(0, world.of("Ana").length));
  student.stop();
});

test("a late hello of its own does not make it wait for long", async () => {
  const world = new World();
  const student = world.student("Ana");
  world.network = "refusing";
  await student.start();
  await world.clock.advance(60_000); // so many failures that the next wait is long
  world.up = true;
  world.latency_ms = 300;
  const count = world.sockets.length;
  await world.clock.until(() => world.sockets.length > count);
  const late = world.sockets.at(-1);
  const { onopen } = late;
  late.onopen = () => {
    late.isHeld = true; // hello stays under way
    onopen();
  };
  await world.clock.until(() => student.isWelcome, 30_000);
  world.up = true;
  await world.clock.until(() => !student.isWelcome, 1000);
  await world.clock.until(() => student.isWelcome, 1500);
  student.stop();
});

for (const code of [1000, 1001, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4000]) {
  test(`it reconnects after close code ${code}`, async () => {
    const world = new World();
    const student = world.student("Ana");
    await student.start();
    await world.clock.until(() => student.isWelcome);
    world.closeAll(code);
    await world.clock.until(() => !student.isWelcome);
    student.send(VALUES);
    await world.clock.until(() => student.isWelcome && student.waiting === 0);
    student.stop();
  });
}

test("it reconnects where a refused connection reports an error only", async () => {
  const world = new World();
  world.network = "lost";
  const student = world.student("Ana");
  await student.start();
  world.sockets[0].onerror({});
  world.up = true;
  await world.clock.until(() => student.isWelcome, 1000);
  student.stop();
});

test("it does not reconnect after 4001, which another connection with its session causes", async () => {
  const world = new World();
  const student = world.student("Ana");
  await student.start();
  await world.clock.until(() => student.isWelcome);
  world.closeAll(4001);
  await world.clock.advance(600_000);
  assert.equal(world.sockets.length, 1);
  await student.start();
  await world.clock.until(() => student.isWelcome);
  student.stop();
});

test("a hello of its own that comes late does not end it", async () => {
  const world = new World();
  const student = world.student("Ana");
  await student.start();
  const [late] = world.sockets;
  const { onopen } = late;
  late.onopen = () => {
    late.isHeld = true; // hello stays under way
    onopen();
  };
  await world.clock.until(() => world.sockets.length === 2 && student.isWelcome);
  world.up = true;
  for (const delta of range(0, 20)) {
    student.send({ ...VALUES, delta });
    await world.clock.advance(1000);
  }
  await world.clock.until(() => student.isWelcome && student.waiting === 0);
  assert.deepEqual(world.of("Ana"), range(0, 20));
  student.stop();
});

test("bad readings are reported, never sent again, and the rest goes on", async () => {
  const world = new World();
  const student = world.student("Ana");
  const faults = [];
  student.addEventListener("error", ({ detail }) => faults.push(detail));
  await student.start();
  await world.clock.until(() => student.isWelcome);
  for (const bad of [{ attention: 101 }, { delta: -1 }, { theta: 1.5 }, { mid_gamma: undefined }, { poor_signal: 256 }, { text: "é".repeat(5000) }]) {
    assert.equal(student.send({ ...VALUES, ...bad }), null);
  }
  assert.deepEqual(faults.map(({ field }) => field), ["attention", "delta", "theta", "mid_gamma", "poor_signal", ""]);
  for (const delta of range(0, 60)) {
    student.send({ ...VALUES, delta, ...(delta < 30 ? { time: "yesterday" } : {}) }); // only the gateway knows that it is bad
    await world.clock.advance(1000);
  }
  await world.clock.until(() => student.waiting === 0);
  assert.equal(faults.length, 6 + 30);
  assert.equal(world.refused, 30);
  assert.equal(faults.at(-1).reading.delta, 29);
  assert.deepEqual(world.of("Ana"), range(30, 60));
  student.stop();
});

test("stop and start ten times in a row, at any moment, leave one working connection", async () => {
  for (const pause_ms of [0, 1, 35, 70, 400]) {
    const world = new World();
    const student = world.student("Ana");
    for (const delta of range(0, 10)) {
      void student.start();
      student.send({ ...VALUES, delta });
      await world.clock.advance(pause_ms);
      student.stop();
    }
    await student.start();
    await student.start(); // a second start changes nothing
    await world.clock.until(() => student.isWelcome && student.waiting === 0);
    const count = world.sockets.length;
    for (const delta of range(10, 40)) {
      student.send({ ...VALUES, delta });
      await world.clock.advance(1000);
    }
    await world.clock.until(() => student.waiting === 0);
    assert.equal(world.sockets.length, count);
    assert.equal(world.sockets.filter(({ readyState }) => readyState < 2).length, 1);
    assert.deepEqual(world.of("Ana"), range(0, 40));
    student.stop();
    await world.clock.advance(60_000);
    assert.equal(world.sockets.length, count);
  }
});

test("what waits on a shared tablet is sent as the student that made it", async () => {
  const world = new World();
  const store = new MemoryStore();
  world.network = "lost";
  const ana = world.student("Ana", { store });
  await ana.start();
  for (const delta of range(0, 5)) ana.send({ ...VALUES, delta });
  await world.clock.advance(1000);
  ana.stop();
  const bruno = world.student("Bruno", { store });
  await bruno.start();
  for (const delta of range(100, 103)) bruno.send({ ...VALUES, delta });
  world.up = true;
  await world.clock.until(() => bruno.isWelcome && bruno.waiting === 0);
  await world.clock.until(() => world.of("Ana").length === 5, 65_000);
  assert.deepEqual([world.of("Ana"), world.of("Bruno")], [range(0, 5), range(100, 103)]);
  await world.clock.until(() => world.sockets.filter(({ readyState }) => readyState < 2).length === 1);
  assert.deepEqual((await store.load()).readings, []);
  bruno.stop();
});

test("a page that is loaded again goes on with its session; in the next lesson, or when told so, it does not", async () => {
  for (const [pause_ms, resumes, isSame] of [[60_000, true, true], [60_000, false, false], [3_600_000, true, false]]) {
    const world = new World();
    const store = new MemoryStore();
    world.network = "lost";
    const first = world.student("Ana", { store });
    await first.start();
    for (const delta of range(0, 3)) first.send({ ...VALUES, delta });
    first.stop();
    await world.clock.advance(pause_ms);
    world.up = true;
    const second = world.student("Ana", { store, resumes });
    await second.start();
    second.send({ ...VALUES, delta: 3 });
    await world.clock.until(() => world.of("Ana").length === 4, 65_000);
    assert.equal(second.session === first.session, isSame);
    assert.deepEqual(world.of("Ana"), range(0, 4));
    second.stop();
  }
});

test("two tabs of one student have two sessions, and each sends its own", async () => {
  const world = new World();
  const store = new MemoryStore();
  world.network = "lost";
  const tabs = [world.student("Ana", { store }), world.student("Ana", { store })];
  for (const tab of tabs) await tab.start();
  for (const delta of range(0, 30)) {
    tabs[delta % 2].send({ ...VALUES, delta });
    await world.clock.advance(1000);
  }
  world.up = true;
  await world.clock.until(() => tabs.every((tab) => tab.waiting === 0), 30_000);
  assert.notEqual(tabs[0].session, tabs[1].session);
  assert.deepEqual(world.of("Ana"), range(0, 30));
  await world.clock.advance(300_000);
  for (const tab of tabs) tab.stop();
});

test("while the broker is away it stays, and the gateway's silence is still noticed", async () => {
  const world = new World();
  world.broker = false;
  const student = world.student("Ana");
  await student.start();
  await world.clock.until(() => student.isWelcome);
  for (const delta of range(0, 60)) {
    student.send({ ...VALUES, delta });
    await world.clock.advance(1000);
    if (delta % 5 === 0) world.sockets[0].onmessage({ data: JSON.stringify({ type: "link", broker: false, recorder: false }) });
  }
  assert.equal(world.sockets.length, 1);
  world.cutSilently();
  await world.clock.until(() => world.sockets.length === 2);
  student.stop();
});

test("a student who waits at the door stays connected, and sends everything once it is let in", async () => {
  const world = new World();
  world.door = "ask";
  const student = world.student("Ana");
  const told = [];
  student.addEventListener("door", ({ detail }) => told.push(detail.state));
  await student.start();
  for (let delta = 0; delta < 120; delta += 1) {
    student.send({ ...VALUES, delta });
    await world.clock.advance(1000);
  }
  assert.deepEqual([world.sockets.length, world.recorded.length, student.isWelcome], [1, 0, false]);
  assert.ok(told.length >= 20 && told.every((state) => state === "ask"));
  world.atDoor.get(world.sockets[0]).admit();
  await world.clock.until(() => student.waiting === 0);
  assert.deepEqual(world.of("Ana"), range(0, 120));
  student.stop();
});

test("a student who waits at the door notices that the connection is dead", async () => {
  const world = new World();
  world.door = "closed";
  const student = world.student("Ana");
  await student.start();
  await world.clock.advance(20_000);
  world.cutSilently();
  await world.clock.until(() => world.sockets.length === 2);
  world.door = null;
  await world.clock.until(() => student.isWelcome);
  student.stop();
});

test("what is left of another student asks no teacher, and is delivered once the door is open", async () => {
  const world = new World();
  const store = new MemoryStore();
  world.network = "refusing";
  const bia = world.student("Bia", { store });
  await bia.start();
  bia.send({ ...VALUES, delta: 7 });
  await world.clock.advance(1000);
  bia.stop();
  world.network = "up";
  world.door = "ask";
  const ana = world.student("Ana", { store });
  await ana.start();
  await world.clock.until(() => world.atDoor.size > 0);
  [...world.atDoor.values()].find(({ name }) => name === "Ana").admit();
  await world.clock.advance(150_000);
  assert.deepEqual([...world.atDoor.values()].map(({ name }) => name), []);
  world.door = null;
  await world.clock.until(() => world.of("Bia").length === 1, 120_000);
  ana.stop();
});

test("a dashboard that hears nothing reconnects within 15 s", async () => {
  const world = new World();
  const { clock, WebSocket } = world;
  const dashboard = new NeuroOneDashboard("ws://gateway", { clock, WebSocket });
  dashboard.start();
  await clock.until(() => dashboard.isWelcome);
  for (let count = 0; count < 20; count += 1) {
    world.dashboard("link", { broker: true, recorder: true });
    await clock.advance(LINK_PERIOD_MS);
  }
  assert.equal(world.sockets.length, 1);
  world.cutSilently();
  await clock.until(() => world.sockets.length === 2 && dashboard.isWelcome);
  dashboard.stop();
});

test("a dashboard whose first try hangs reconnects within 15 s", async () => {
  const world = new World();
  const { clock, WebSocket } = world;
  const dashboard = new NeuroOneDashboard("ws://gateway", { clock, WebSocket, random: () => 1 });
  dashboard.start();
  await clock.until(() => dashboard.isWelcome);
  await clock.advance(10_000);
  world.dashboard("link", { broker: true, recorder: true });
  await clock.advance(100);
  world.cutSilently();
  world.network = "lost";
  const since = clock.now();
  await clock.until(() => world.sockets.length === 2);
  world.network = "up";
  await clock.until(() => world.sockets.length === 3 && dashboard.isWelcome);
  assert.ok(clock.now() - since <= RECONNECTED_WITHIN_MS, `${clock.now() - since} ms`);
  dashboard.stop();
});

test("what is not of the dialect is ignored", async () => {
  const world = new World();
  const student = world.student("Ana");
  await student.start();
  await world.clock.until(() => student.isWelcome);
  for (const data of ["", "null", "7", "[]", "{", '{"type":7}', new ArrayBuffer(3)]) world.sockets[0].onmessage({ data });
  student.send({ ...VALUES, delta: 0 });
  await world.clock.until(() => student.waiting === 0);
  assert.equal(world.sockets.length, 1);
  student.stop();
});

test("a dashboard that is stopped and started ten times in a row has one connection", async () => {
  const world = new World();
  const { clock, WebSocket } = world;
  const dashboard = new NeuroOneDashboard("ws://gateway", { clock, WebSocket });
  let readings = 0;
  dashboard.addEventListener("reading", () => (readings += 1));
  for (let count = 0; count < 10; count += 1) {
    dashboard.start();
    await clock.advance(20 * count);
    dashboard.stop();
  }
  dashboard.start();
  await clock.until(() => dashboard.isWelcome);
  await clock.advance(10_000);
  assert.equal(world.sockets.filter(({ readyState }) => readyState < 2).length, 1);
  world.dashboard("reading", {});
  await clock.advance(100);
  assert.equal(readings, 1);
  dashboard.stop();
});

test("a marker that is not acknowledged in 10 s means a dead connection", async () => {
  const world = new World();
  const student = world.student("Ana");
  await student.start();
  await world.clock.until(() => student.isWelcome);
  assert.equal(student.mark({ id: "m1" }), true);
  await world.clock.until(() => world.sockets.length === 2);
  student.stop();
});

test("it reconnects when the network or the page comes back", async () => {
  const world = new World();
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  try {
    const student = world.student("Ana");
    await student.start();
    await world.clock.until(() => student.isWelcome);
    world.network = "refusing";
    world.closeAll(1006);
    await world.clock.advance(120_000);
    world.up = true;
    page.dispatchEvent(new Event("online"));
    await world.clock.until(() => student.isWelcome, 1000);
    document.dispatchEvent(new Event("visibilitychange")); // heard just now: nothing to do
    await world.clock.advance(5000);
    const count = world.sockets.length;
    world.cutSilently();
    document.dispatchEvent(new Event("visibilitychange"));
    await world.clock.until(() => world.sockets.length === count + 1 && student.isWelcome, 1000);
    student.stop();
    page.dispatchEvent(new Event("online"));
    document.dispatchEvent(new Event("visibilitychange"));
    await world.clock.advance(60_000);
    assert.equal(world.sockets.length, count + 1);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
    delete globalThis.document;
  }
});

test("a store that fails or hangs holds nothing up", async () => {
  const fails = async () => { throw new Error("no room"); };
  const hangs = () => new Promise(() => {});
  for (const fault of [fails, hangs]) {
    const world = new World();
    const store = { load: fault, begin: fault, put: fault, drop: fault, dropUpTo: fault, claim: fault, release: fault };
    const student = world.student("Ana", { store });
    let faults = 0;
    student.addEventListener("storefault", () => (faults += 1));
    void student.start();
    for (const delta of range(0, 20)) {
      student.send({ ...VALUES, delta });
      await world.clock.advance(1000);
    }
    await world.clock.until(() => student.waiting === 0);
    assert.deepEqual(world.of("Ana"), range(0, 20));
    assert.ok(faults > 0);
    student.stop();
  }
});

test("three hours of a bad network lose and double nothing", async () => {
  let seed = 20261126;
  const random = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed / 2 ** 32;
  };
  const world = new World();
  const student = world.student("Ana", { random });
  await student.start();
  const faults = {
    "half-open": () => world.cutSilently(),
    cut: () => world.closeAll(1006),
    restart: () => world.closeAll(1012),
    full: () => world.closeAll(1013),
    refused: () => {
      world.network = "refusing";
      world.closeAll(1006);
    },
    held: () => (world.network = "held"),
    lost: () => {
      world.network = "lost";
      world.cutSilently();
    },
    deaf: () => (world.isDeaf = true),
    slow: () => (world.latency_ms = 4000),
  };
  let next = 60;
  let end = Infinity;
  let repaired = null;
  let slowest = 0;
  let count = 0;
  for (let second = 0; second < 3 * 3600; second += 1) {
    if (second === next) {
      faults[Object.keys(faults)[Math.floor(random() * Object.keys(faults).length)]]();
      end = second + 1 + Math.floor(random() * 90);
      next = Infinity;
    }
    if (second === end) {
      world.up = true;
      repaired = second;
      end = Infinity;
      next = second + 20 + Math.floor(random() * 60);
    }
    student.send({ ...VALUES, delta: count });
    count += 1;
    await world.clock.advance(1000);
    if (repaired !== null && student.isWelcome && student.waiting <= 1) {
      slowest = Math.max(slowest, second - repaired);
      repaired = null;
    }
  }
  await world.clock.until(() => student.waiting === 0, 30_000);
  assert.deepEqual(world.of("Ana"), range(0, count));
  assert.equal(student.dropped, 0);
  assert.ok(slowest <= 15, `everything was delivered ${slowest} s after a repair`);
  student.stop();
});

/** Send 8 blocks and a reading each second, from block number `first` on; return the number of the next one. */
async function sendRaw(world, student, seconds, first = 0) {
  for (let n = first; n < first + 8 * seconds; n += 1) {
    student.sendRaw({ first_sample: 64 * n, rate_hz: 512, measured_hz: null, samples: Array(64).fill(n % 2000) });
    if (n % 8 === 7) student.send(VALUES);
    await world.clock.advance(125);
  }
  return first + 8 * seconds;
}

async function rawStudent(world, options) {
  world.rawWanted = true;
  const student = world.student("Ana", options);
  await student.start();
  await world.clock.until(() => student.isWelcome);
  await world.clock.advance(1000);
  return student;
}

const firstsOf = (world) => world.raw.map(({ first_sample }) => first_sample / 64);

test("raw blocks of an outage follow the readings that wait, and none is lost or doubled", async () => {
  const world = new World();
  const student = await rawStudent(world);
  let next = await sendRaw(world, student, 20);
  world.cutSilently(); // what is sent from now on is lost, and nobody knows it
  world.network = "lost";
  next = await sendRaw(world, student, 60, next);
  world.up = true;
  const before = world.raw.length;
  await world.clock.until(() => student.waiting === 0 && world.raw.length > before);
  assert.ok(world.raw[before].at >= world.recorded.length - 1, "readings come first");
  next = await sendRaw(world, student, 60, next);
  await world.clock.until(() => world.raw.length === next);
  assert.deepEqual(firstsOf(world), range(0, next));
  assert.deepEqual(world.raw.map(({ seq }) => seq), range(0, next));
  assert.equal(student.rawDropped, 0);
  assert.ok(world.rawHeard < next + 24, "what a later reading proves is not sent again");
  student.stop();
});

test("raw blocks wait for the gateway's broker, and those on their way are sent again", async () => {
  const world = new World();
  const student = await rawStudent(world);
  let next = await sendRaw(world, student, 5);
  world.broker = false; // from now on the gateway's are lost; it hears of it a second later
  next = await sendRaw(world, student, 1, next);
  const got = world.raw.length;
  world.say("link", { broker: false, recorder: true });
  next = await sendRaw(world, student, 5, next);
  assert.equal(world.raw.length, got);
  world.broker = true;
  world.say("link", { broker: true, recorder: true });
  next = await sendRaw(world, student, 5, next);
  await world.clock.until(() => world.raw.length === next);
  assert.deepEqual(firstsOf(world), range(0, next));
  student.stop();
});

test("raw blocks of an outage of the broker wait for the recorder too, until it had its time to come back", async () => {
  const world = new World();
  const student = await rawStudent(world);
  let next = await sendRaw(world, student, 5);
  world.broker = world.hasRecorder = false;
  world.say("link", { broker: false, recorder: true });
  next = await sendRaw(world, student, 5, next);
  world.broker = true;
  for (let second = 0; second < 12; second += 4) { // the gateway says it every few seconds
    world.say("link", { broker: true, recorder: true });
    next = await sendRaw(world, student, 4, next);
  }
  world.hasRecorder = true;
  next = await sendRaw(world, student, 20, next);
  await world.clock.until(() => world.raw.length === next);
  assert.deepEqual(firstsOf(world), range(0, next));
  student.stop();
});

test("a recorder that has readings gets the raw blocks of an outage at once, and whoever stops leaves none", async () => {
  for (const isEnd of [false, true]) {
    const world = new World();
    const student = await rawStudent(world, { acks: "recorded" });
    world.say("link", { broker: false, recorder: true });
    const next = await sendRaw(world, student, 5);
    const got = world.raw.length;
    world.say("link", { broker: true, recorder: true });
    await world.clock.advance(2000);
    assert.equal(world.raw.length, got);
    if (isEnd) student.stop();
    else world.say("ack", { stage: "recorded", seq: 4 });
    await world.clock.advance(3000);
    assert.equal(world.raw.length, next);
    student.stop();
  }
});

test("raw blocks of more than ten minutes are given up, the oldest first", async () => {
  const world = new World();
  const student = await rawStudent(world);
  let next = await sendRaw(world, student, 2);
  world.closeAll(1006);
  await world.clock.until(() => !student.isWelcome);
  world.network = "refusing";
  next = await sendRaw(world, student, 660, next);
  assert.equal(student.rawDropped, next - 16 - 4800);
  world.up = true;
  await world.clock.until(() => student.isWelcome);
  next = await sendRaw(world, student, 60, next);
  await world.clock.until(() => world.raw.length === 16 + 4800 + 480);
  assert.deepEqual(firstsOf(world), [...range(0, 16), ...range(next - 4800 - 480, next)]);
  student.stop();
});

test("raw blocks go only to a lesson that wants them", async () => {
  const world = new World();
  const student = await rawStudent(world);
  const told = [];
  student.addEventListener("raw_wanted", ({ detail }) => told.push(detail.wanted));
  let next = await sendRaw(world, student, 2);
  world.say("raw_wanted", { wanted: false });
  next = await sendRaw(world, student, 2, next);
  assert.ok(world.raw.length <= 17);
  world.say("raw_wanted", { wanted: true });
  next = await sendRaw(world, student, 2, next);
  assert.ok(firstsOf(world).at(-1) > 32);
  world.closeAll(1006); // the lesson ends meanwhile
  world.rawWanted = false;
  await world.clock.until(() => !student.isWelcome);
  const before = world.raw.length;
  next = await sendRaw(world, student, 20, next);
  assert.equal(student.isWelcome, true);
  assert.equal(world.raw.length, before);
  assert.equal(student.sendRaw({ first_sample: 64 * next, rate_hz: 512, samples: [1] }), null);
  assert.deepEqual(told, [false, true, false]);
  assert.ok(student.rawDropped > 0);
  student.stop();
});

test("a page that is loaded again goes on with higher numbers, and no sample is in the store", async () => {
  const world = new World();
  const store = new MemoryStore();
  const first = await rawStudent(world, { store });
  const next = await sendRaw(world, first, 4);
  world.cutSilently();
  await sendRaw(world, first, 4, next); // lost with the page
  assert.ok(!JSON.stringify(await store.load()).includes("samples"));
  for (const session of world.sessions.values()) await store.release(session.who.session);
  const second = await rawStudent(world, { store });
  assert.equal(second.session, first.session);
  await sendRaw(world, second, 2);
  const [gap] = firstsOf(world).slice(next);
  assert.ok(gap >= 64 && gap < 100, `the numbers go on at ${gap}`);
  assert.equal(world.raw.length, next + 16);
  second.stop();
  first.stop();
});

test("a bad raw block is not sent, and its field is named", async () => {
  const world = new World();
  const student = await rawStudent(world);
  const fields = [];
  student.addEventListener("error", ({ detail }) => fields.push(detail.field));
  const good = { first_sample: 0, rate_hz: 512, measured_hz: 512, samples: [1] };
  const bad = [["first_sample", -1], ["rate_hz", 0], ["measured_hz", 1.5], ["samples", []], ["samples", [40_000]]];
  for (const [field, value] of bad) assert.equal(student.sendRaw({ ...good, [field]: value }), null);
  assert.deepEqual(fields, bad.map(([field]) => field));
  assert.equal(student.sendRaw(good), 0);
  student.stop();
});
