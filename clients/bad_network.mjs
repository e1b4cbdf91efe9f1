// What neuroone.js must bear on a real gateway, broker and recorder, in Node and in a browser: a lesson in a bad network,
// tablets that two share, several tabs, a restless student. The client's time runs fast, but waits for what the real
// gateway has still to answer. Run by tests/support/bad_network.py, which controls the network and counts the rows.
import { NeuroOneStudent } from "./neuroone.js";

const VALUES = {
  attention: 85, meditation: 72, delta: 1, theta: 2, low_alpha: 3, high_alpha: 4, low_beta: 5, high_beta: 6,
  low_gamma: 7, mid_gamma: 8,
};
/** After a delay Node holds an idle connection, which dies in the freeze and gets the next try. */
const FAULTS = ["delay", "freeze", "hold", "cut", "refuse", "deafen"];
/** Faults after which a new connection works at once. */
const MOMENTARY = ["freeze", "cut", "deafen"];
/** Faults of which the client is not told: its present connections are half-open from then on. */
const SILENT = ["freeze", "deafen"];
const STEP_MS = 250;
/** Real time: how long an answer is waited for before the client's time goes on, and how often it is looked for. */
const ANSWER_WITHIN_MS = 1000;
const POLL_MS = 1;
/** Real time that each second has at least for what others left: those deliveries are not waited for by themselves. */
const LEFT_MS = 50;
/** The network fails once in so many seconds. */
const PERIOD_S = 60;
const FIRST_FAULT_S = 5;
const LAST_FAULT_S = 15;
const LONGEST_OUTAGE_S = 28;
const RECONNECTED_WITHIN_S = 15;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const value = (delta) => ({ ...VALUES, delta });

function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** A network with faults, and time that goes on when a test says so. `relay` is told what the network is to do. */
class World {
  #url;
  #relay;
  #now_ms = 0;
  #startedAt = Date.now();
  #timers = new Map();
  #timerNumber = 0;
  /** Sockets up to here are half-open: nothing is to be expected of them. */
  #deadUpTo = 0;
  sockets = [];
  isHealthy = true;

  constructor(url, relay) {
    this.#url = url;
    this.#relay = relay;
    const { sockets } = this;
    this.WebSocket = class extends WebSocket {
      constructor(...words) {
        super(...words);
        sockets.push(this);
      }
    };
    this.clock = {
      now: () => this.#now_ms,
      time: () => this.#startedAt + this.#now_ms,
      clearTimeout: (timer) => this.#timers.delete(timer),
      setTimeout: (call, ms) => {
        this.#timers.set((this.#timerNumber += 1), { call, due: this.#now_ms + ms });
        return this.#timerNumber;
      },
    };
  }

  student(name, options = {}) {
    const { clock, WebSocket } = this;
    return new NeuroOneStudent(this.#url, { name, code: "JS", clock, WebSocket, ...options });
  }

  async fail(fault) {
    this.isHealthy = MOMENTARY.includes(fault);
    if (SILENT.includes(fault)) this.#deadUpTo = this.sockets.length;
    await this.#relay(fault);
  }

  async heal() {
    await this.#relay("heal");
    this.isHealthy = true;
  }

  async pass(student, time_s) {
    for (let time_ms = 0; time_ms < 1000 * time_s; time_ms += STEP_MS) {
      await this.#answered(student);
      await this.#advance(STEP_MS);
    }
  }

  async emptied(student) {
    for (let time_s = 0; student.waiting > 0; time_s += 1) {
      check(time_s < PERIOD_S, `${student.waiting} readings still wait`);
      await this.pass(student, 1);
    }
  }

  /** Let time pass until everything in the store is delivered, also what others left there. */
  async nothingLeft(student, store) {
    for (let time_s = 0; (await store.load()).readings.length > 0; time_s += 1) {
      check(time_s < 2 * PERIOD_S, "what was left must be delivered");
      await pause(LEFT_MS);
      await this.pass(student, 1);
    }
  }

  /** Whether the student is connected by a connection that works. */
  isBack(student) {
    return this.sockets.length > this.#deadUpTo && student.isWelcome;
  }

  async #advance(ms) {
    this.#now_ms += ms;
    for (const [id, { call, due }] of [...this.#timers].sort(([, one], [, other]) => one.due - other.due)) {
      if (due <= this.#now_ms && this.#timers.delete(id)) call();
    }
    await pause(POLL_MS);
  }

  /** Let the client's time go on once the gateway has answered what it can. */
  async #answered(student) {
    const until = Date.now() + ANSWER_WITHIN_MS;
    const isOpen = () => this.isHealthy && this.sockets.length > this.#deadUpTo && this.sockets.at(-1).readyState < 2;
    while (isOpen() && (!student.isWelcome || student.waiting > 3) && Date.now() < until) await pause(POLL_MS);
  }
}

/** One reading a second through all faults in turn, each at another moment; return the longest time to come back. */
async function bearFaults(world, seconds) {
  let seed = 20261126;
  const between = (least, most) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return least + Math.floor((seed / 2 ** 32) * (most - least + 1));
  };
  const student = world.student("Rede");
  await student.start();
  let [faultAt, healedAt, brokenFor_s, repairedAt, slowest_s] = [0, null, 0, null, 0];
  for (let second = 0; second < seconds; second += 1) {
    if (second % PERIOD_S === 0) {
      faultAt = second + between(FIRST_FAULT_S, LAST_FAULT_S);
      brokenFor_s = between(1, LONGEST_OUTAGE_S);
    }
    if (second === faultAt) {
      await world.fail(FAULTS[Math.floor(second / PERIOD_S) % FAULTS.length]);
      healedAt = world.isHealthy ? null : second + brokenFor_s;
      repairedAt = world.isHealthy ? second : null;
    } else if (second === healedAt) {
      await world.heal();
      repairedAt = second;
    }
    student.send(value(second));
    await world.pass(student, 1);
    if (repairedAt !== null && world.isBack(student) && student.waiting <= 5) {
      slowest_s = Math.max(slowest_s, second + 1 - repairedAt);
      repairedAt = null;
    }
  }
  await world.heal();
  await world.emptied(student);
  check(student.dropped === 0, `${student.dropped} readings were dropped`);
  student.stop();
  return slowest_s;
}

/** Two students of one tablet; the first one leaves while the network is away. */
async function shareTablet(world, newStore) {
  await world.fail("refuse");
  const store = newStore("tablet");
  const ana = world.student("Ana", { store });
  await ana.start();
  for (let number = 0; number < 10; number += 1) ana.send(value(number));
  await world.pass(ana, 5);
  ana.stop();
  const bruno = world.student("Bruno", { store: newStore("tablet") });
  await bruno.start();
  for (let number = 100; number < 110; number += 1) bruno.send(value(number));
  await world.heal();
  await world.emptied(bruno);
  await world.nothingLeft(bruno, store);
  bruno.stop();
}

/** Two students who take turns on one tablet, ten times, each on a page of its own, while the network comes and goes. */
async function takeTurns(world, newStore) {
  let student;
  for (let number = 0; number < 20; number += 1) {
    if (number % 6 === 2) await world.fail("refuse");
    student = world.student(number % 2 ? "Beto" : "Lia", { store: newStore("turns") });
    await student.start();
    student.send(value(number));
    await world.pass(student, number % 3);
    if (number < 19) student.stop();
    if (number % 6 === 4) await world.heal();
  }
  await world.emptied(student);
  await world.nothingLeft(student, newStore("turns"));
  student.stop();
}

/** Two tabs of one student and one of another, on a connection that breaks. */
async function openTabs(world, newStore) {
  const tabs = ["Duas", "Duas", "Eva"].map((name) => world.student(name, { store: newStore("tabs") }));
  for (const tab of tabs) await tab.start();
  for (let number = 0; number < 42; number += 1) {
    tabs[number % 3].send(value(number));
    await world.pass(tabs[number % 3], 1);
    if (number === 20) await world.fail("cut");
  }
  for (const tab of tabs) {
    await world.emptied(tab);
    tab.stop();
  }
  check(new Set(tabs.map(({ session }) => session)).size === 3, "each tab has its own session");
}

/** Stop and start ten times in a row: it stays the same session, of which nothing is left behind. */
async function stopAndStart(world, newStore) {
  const store = newStore("restless");
  const restless = world.student("Dez", { store });
  const { session } = restless;
  for (let number = 0; number < 10; number += 1) {
    const started = restless.start();
    restless.send(value(number));
    if (number % 3 > 0) await started;
    if (number % 3 > 1) await world.pass(restless, 1);
    restless.stop();
  }
  await restless.start();
  for (let number = 10; number < 20; number += 1) {
    restless.send(value(number));
    await world.pass(restless, 1);
  }
  await world.emptied(restless);
  restless.stop();
  check(restless.session === session, "who stops and starts goes on with its session");
  await world.nothingLeft(restless, store);
}

/** Thirty readings in a row of which only the gateway knows that they are bad; then good ones. */
async function sendBadOnes(world) {
  const faulty = world.student("Ruim");
  let refused = 0;
  faulty.addEventListener("error", ({ detail }) => (refused += detail.reading !== undefined));
  await faulty.start();
  for (let number = 0; number < 30; number += 1) faulty.send({ ...value(number), time: "yesterday" });
  for (let number = 30; number < 40; number += 1) faulty.send(value(number));
  await world.emptied(faulty);
  check(refused === 30, `${refused} of 30 bad readings were reported`);
  faulty.stop();
}

/** Run everything, `seconds` of it in a bad network; throw if something was lost on the way or took too long. */
export async function run({ url, seconds, relay, newStore }) {
  const world = new World(url, relay);
  const slowest_s = await bearFaults(world, seconds);
  const connections = world.sockets.length;
  check(slowest_s <= RECONNECTED_WITHIN_S, `it took ${slowest_s} s to come back`);
  await shareTablet(world, newStore);
  await takeTurns(world, newStore);
  await openTabs(world, newStore);
  await stopAndStart(world, newStore);
  await sendBadOnes(world);
  return { slowest_s, connections };
}
