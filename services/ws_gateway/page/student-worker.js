/**
 * Keep the files of the student's page, so that it starts without a network. Nothing else is kept: no readings, no names,
 * no keys, no recordings.
 */

/** The page's files, each with the beginning of its SHA-256, and what is made of all these: the gateway fills them in. */
const FILES = {};
const VERSION = "";
const HOME = new URL(".", self.location).href;
/** Several gateways may share an origin, each in a folder of its own. */
const PREFIX = `neuroone student ${HOME} `;
const CACHE = PREFIX + VERSION;

self.addEventListener("install", (event) => event.waitUntil(fill()));

self.addEventListener("activate", (event) => event.waitUntil(dropOthers()));

self.addEventListener("message", (event) => event.waitUntil(takeOverIfAlone()));

self.addEventListener("fetch", (event) => {
  const { url, method } = event.request;
  const path = url.startsWith(HOME) ? url.slice(HOME.length).split(/[?#]/, 1)[0] : "";
  if (method === "GET" && Object.hasOwn(FILES, path)) event.respondWith(answer(event, path));
});

/** Keep every file of this version; if one is of another version, install nothing. */
async function fill() {
  const cache = await caches.open(CACHE);
  const kept = Object.entries(FILES).map(async ([path, hash]) => {
    const response = await fetch(HOME + path, { cache: "no-store" });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await response.clone().arrayBuffer()));
    const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (!hex.startsWith(hash)) throw new Error(`${path} is of another version`);
    await cache.put(HOME + path, response);
  });
  await Promise.all(kept);
}

async function dropOthers() {
  const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

/** Replace the version before, at the start of a page. Another window may be in the middle of a recording: then wait. */
async function takeOverIfAlone() {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const isOfStudent = ({ url }) => url.startsWith(`${HOME}student`);
  if (windows.filter(isOfStudent).length <= 1) await self.skipWaiting();
}

async function answer({ request, clientId }, path) {
  const page = path === "student" ? request.url : ((await self.clients.get(clientId))?.url ?? HOME);
  const isTest = new URL(page).searchParams.has("test"); // the test page is not kept, and takes no older parts
  const kept = isTest ? undefined : await (await caches.open(CACHE)).match(HOME + path);
  return kept ?? fetch(request);
}
