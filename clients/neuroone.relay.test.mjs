// Run by tests/support/bad_network.py: node neuroone.relay.test.mjs URL SECONDS, through a relay that it controls by
// lines on stdout.
import { createInterface } from "node:readline";

import { run } from "./bad_network.mjs";
import { MemoryStore } from "./neuroone.js";

const [url, seconds] = [process.argv[2], Number(process.argv[3])];
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const stores = new Map();

/** Tell the test what the relay is to do, and wait until it does. */
async function relay(what) {
  console.log(`relay ${what}`);
  await answers.next();
}

function newStore(name) {
  if (!stores.has(name)) stores.set(name, new MemoryStore());
  return stores.get(name);
}

console.log(JSON.stringify(await run({ url, seconds, relay, newStore })));
process.exit(0);
