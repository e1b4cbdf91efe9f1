/** The student's page: who, a headset, and readings that are recorded once, in that order. */
import { esense, mark, write } from "./badges.js";
import { contactOf, STALE_AFTER_S } from "./classroom.js";
import { Doubts, touchesESense, wordsOf } from "./doubt.js";
import { Headset, waysToConnect } from "./headset.js";
import { install, watchOtherTabs } from "./install.js";
import { dress } from "./look.js";
import { Recording } from "./recording.js";
import { gatewayUrl } from "./token.js";
import { keepAwake, letSleep } from "./wake.js";
import { choose, findAgain, forgetWay, lastWay } from "./ways.js";
import { forget, leaveAddress, remember, remembered, takeWho, whoOf } from "./who.js";
import { clock, duration, number, t, tame } from "./words.js";

const VIEWS = ["who", "connect", "live", "ended"];
/** Who uses this tab: a reload asks nobody. */
const NOW = "neuroone.student";
/** So often what is shown is judged anew. */
const DRAW_MS = 1000;
/** Students in the list below the form. */
const KNOWN_SHOWN = 6;
/** A few readings always wait: a recorder confirms in batches. */
const WAITING_SHOWN = 10;

const at = (id) => document.getElementById(id);

let who = null;
let view = "who";
let recording = null;
let headset = null;
let source = null;
/** When the present headset is closed, and when the one before is: a link is not opened while it is being closed. */
let running = Promise.resolve();
let closing = running;
let isClosing = false;
let link = { link: "searching", isWithheld: false };
let doubts = new Doubts();
let doubt = null;
let reading = null;
let readingMs = -Infinity;
let isAwake = true;
let where = null;

function show(next) {
  view = next;
  for (const each of VIEWS) at(`view-${each}`).hidden = each !== view;
  at(`${view}-title`).focus();
  draw();
}

/** Ask who is there, with what is known of one filled in. */
function askWho({ name, code, key }, fault = "") {
  const { elements } = at("who");
  Object.assign(elements.name, { value: name });
  Object.assign(elements.code, { value: code });
  Object.assign(elements.key, { value: key });
  write(at("who-fault"), fault);
  listKnown();
  show("who");
}

function listKnown() {
  const known = remembered();
  at("known").hidden = known.length === 0;
  at("known-list").replaceChildren(...known.slice(0, KNOWN_SHOWN).map((each) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = labelOf(each);
    button.addEventListener("click", () => enter(each));
    item.append(button);
    return item;
  }));
}

function labelOf({ name, code }) {
  return [tame(name), tame(code, 20)].filter((each) => each).join(" · ");
}

/** Go on as this student: connect to the server, which may have readings of before to get. */
function enter(student) {
  who = student;
  remember(who);
  sessionStorage.setItem(NOW, JSON.stringify(who));
  connectToServer();
  for (const each of document.querySelectorAll(".its-name")) write(each, labelOf(who));
  offerWays();
}

function connectToServer() {
  recording?.stop();
  recording = new Recording(gatewayUrl(), who);
  recording.addEventListener("changed", onRecording);
  recording.start();
}

function onRecording() {
  if (recording?.state === "refused" && view === "connect") {
    leaveServer();
    askWho(who, t("student.refused"));
    return;
  }
  if (view === "ended" && recording?.waiting === 0 && !isClosing) leaveServer();
  draw();
}

function leaveServer() {
  recording?.stop();
  recording = null;
}

/** Show a button for each way that this browser has, or say what works instead. */
function offerWays() {
  const ways = waysToConnect();
  for (const button of document.querySelectorAll("[data-way]")) button.hidden = !ways.includes(button.dataset.way);
  const last = lastWay();
  at("again").hidden = last === null;
  write(at("again-what"), last === null ? "" : (tame(last.name) || t(`student.${last.way}`)));
  at("ways").hidden = ways.length === 0;
  at("no-way").hidden = ways.length > 0;
  if (ways.length === 0) sayWhatWorks();
  write(at("connect-fault"), "");
  show("connect");
  onRecording();
}

function sayWhatWorks() {
  const { userAgent, maxTouchPoints } = navigator;
  const isOfApple = /iPhone|iPad|iPod/.test(userAgent) || (/Macintosh/.test(userAgent) && maxTouchPoints > 1);
  const why = isOfApple ? "student.none.apple" : isSecureContext ? "student.none.browser" : "student.none.http";
  write(at("no-way-why"), t(why));
  const isSecureKnown = !isSecureContext && !isOfApple && where?.https;
  write(at("no-way-what"), t(isSecureKnown ? "student.none.https" : "student.none.what"));
  at("secure").hidden = !isSecureKnown;
  if (isSecureKnown) at("secure").href = secureAddress(where.https);
  at("trust").hidden = !(isSecureKnown && where.ca === true);
  if (where?.https) at("trust").href = "trust";
}

/** Return this page's address on https, for the same student. */
function secureAddress(https) {
  const address = new URL("student", https);
  const { name, code, key } = who;
  if (name) address.searchParams.set("name", name);
  if (code) address.searchParams.set("code", code);
  if (key) address.hash = new URLSearchParams({ key });
  return address.protocol === "https:" ? address.href : "";
}

async function connect(way) {
  write(at("connect-fault"), "");
  try {
    begin(await choose(way));
  } catch (error) {
    const isOff = way === "bluetooth" && (await navigator.bluetooth.getAvailability?.().catch(() => true)) === false;
    const why = error.name === "NotFoundError" ? (isOff ? "student.bluetooth.off" : "student.nothing_chosen") : "headset.no_permission";
    write(at("connect-fault"), t(why, { device: t("student.headset") }));
  }
}

async function connectAgain() {
  const { way } = lastWay();
  const found = await findAgain().catch(() => null);
  if (found === null) await connect(way);
  else begin(found);
}

/** Read a headset, and send what it measures. */
async function begin(chosen) {
  source = chosen;
  const mine = new Headset(source);
  headset = mine;
  link = { link: "searching", isWithheld: false };
  reading = doubt = null;
  readingMs = -Infinity;
  doubts = new Doubts();
  if (recording === null) {
    connectToServer();
    recording.breakOff(); // it does not go on with the session that was ended
  }
  const its = recording; // gets also what comes while the link is being closed
  const hear = (type, handle) => mine.addEventListener(type, ({ detail }) => recording === its && handle(detail));
  hear("reading", onReading);
  hear("block", (block) => its.sendRaw(block));
  hear("session", () => its.breakOff());
  hear("state", (state) => {
    if (mine !== headset) return;
    link = state;
    draw();
  });
  show("live");
  await closing;
  if (mine !== headset) return; // ended meanwhile
  running = mine.start();
  isAwake = await keepAwake();
  draw();
}

function onReading(values) {
  reading = recording.send(values);
  readingMs = performance.now();
  doubt = doubts.add(reading);
  draw();
}

/** End the link to the headset; the next one begins a new session. */
function leaveHeadset() {
  headset?.stop();
  headset = null;
  closing = running;
  forgetWay();
  letSleep();
}

async function end() {
  leaveHeadset();
  isClosing = true; // the last readings and samples come now
  show("ended");
  await closing;
  isClosing = false;
  onRecording();
}

function switchStudent() {
  leaveHeadset();
  leaveServer();
  sessionStorage.removeItem(NOW);
  leaveAddress();
  askWho({ name: "", code: who.code, key: who.key });
}

function draw() {
  if (view === "live") drawLive();
  if (view === "connect") write(at("still-here"), recording?.waiting > 0 ? t("student.waiting", { n: recording.waiting }) : "");
  if (view === "ended") write(at("left"), leftWords());
}

function leftWords() {
  const n = recording?.waiting ?? 0;
  if (n === 0) return t("student.left.none");
  return t(recording.isStoreBroken ? "student.left.broken" : "student.left", { n: number(n) });
}

function drawLive() {
  const isFresh = performance.now() - readingMs < 1000 * STALE_AFTER_S;
  const isLinked = link.link === "connected" && isFresh;
  drawContact(isLinked);
  const isDoubtful = !isLinked || touchesESense(doubt);
  mark(at("values"), "data-doubtful", isDoubtful ? "" : null);
  for (const name of ["attention", "meditation"]) write(at(name), esense(reading?.[name]));
  write(at("doubt"), reading === null ? "" : doubtWords(isFresh));
  const { beganMs, recordedMs } = recording;
  write(at("time"), duration(beganMs === null ? 0 : (Date.now() - beganMs) / 1000));
  write(at("recorded"), recordedMs === null ? t("student.recorded.none") : clock(recordedMs));
  drawNotices();
}

function drawContact(isLinked) {
  const device = tame(source.name ?? "") || t("student.headset");
  const contact = isLinked ? contactOf(reading.poor_signal) : "unknown";
  mark(at("contact"), "data-contact", contact);
  const isFirst = reading === null && ["searching", "connected"].includes(link.link);
  write(at("contact-words"), isLinked ? t(`contact.${contact}`) : t(isFirst ? "student.searching" : "student.lost"));
  const isSaid = !isLinked && link.link !== "connected" && link.link !== "ended";
  const hint = isSaid || link.isWithheld ? t(`headset.${link.link}`, { device }) : isLinked ? t(`student.advice.${contact}`) : "";
  write(at("contact-hint"), hint);
}

function doubtWords(isFresh) {
  if (!isFresh) return t("presence.stale");
  if (doubt === null || doubt === "no_quality") return "";
  const { word, sentence } = wordsOf(doubt, document.documentElement.lang);
  return doubt === "poor_contact" ? word : `${word}: ${sentence}`; // what to do stands beside the drawing
}

function drawNotices() {
  const { state, isAway, waiting, hasRecorder, isStoreBroken, dropped, fault } = recording;
  const notices = [];
  if (isAway) notices.push(t("student.trying"));
  else if (!["on", "trying"].includes(state)) notices.push(t(`student.${state}`));
  else if (state === "on" && hasRecorder === false) notices.push(t("student.no_recorder"));
  if (waiting > (isAway ? 0 : WAITING_SHOWN)) notices.push(t("student.waiting", { n: number(waiting) }));
  if (isStoreBroken) notices.push(t("student.store_broken"));
  if (dropped > 0) notices.push(t("student.dropped", { n: number(dropped) }));
  if (fault) notices.push(t("student.fault", { message: tame(fault, 200) }));
  if (!isAwake) notices.push(t("student.not_awake"));
  const shown = Array.from(at("notices").children, (each) => each.textContent);
  if (notices.join("\n") !== shown.join("\n")) {
    at("notices").replaceChildren(...notices.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  }
  at("resume").hidden = state !== "taken";
}

/** Return who used this tab before it was loaded anew; null: nobody, or the address names somebody else. */
function fromReload(given) {
  try {
    const before = whoOf(JSON.parse(sessionStorage.getItem(NOW)));
    const isSame = (!given.name || given.name === before.name) && (!given.code || given.code === before.code);
    return before.name !== "" && isSame ? { ...before, key: given.key || before.key } : null;
  } catch {
    return null;
  }
}

/** Return a student of the address with what this device remembers of it; without a name, the latest one. */
function filledIn({ name, code, key }) {
  const isMeant = (each) => (!name || each.name === name) && (!code || each.code === code);
  const known = remembered().find(isMeant) ?? { name: "", code: "", key: "" };
  return { name: name || known.name, code: code || known.code, key: key || known.key };
}

function listen() {
  at("who").addEventListener("submit", (event) => {
    event.preventDefault();
    const { name, code, key } = event.target.elements;
    const student = { name: name.value.trim(), code: code.value.trim(), key: key.value.trim() };
    if (student.name) enter(student);
    else write(at("who-fault"), t("student.no_name"));
  });
  at("forget").addEventListener("click", () => {
    forget();
    sessionStorage.removeItem(NOW); // else a reload brings back whom the server has just refused
    listKnown();
    at("who").elements.name.focus();
  });
  for (const button of document.querySelectorAll("[data-way]")) button.addEventListener("click", () => connect(button.dataset.way));
  for (const button of document.querySelectorAll(".switch")) button.addEventListener("click", switchStudent);
  at("again").addEventListener("click", connectAgain);
  at("anew").addEventListener("click", offerWays);
  at("end").addEventListener("click", end);
  at("resume").addEventListener("click", () => recording.resume());
  addEventListener("hashchange", () => {
    const given = takeWho(); // an address with a key was pasted or scanned into this tab
    if (view === "who") askWho(filledIn(given));
  });
  setInterval(draw, DRAW_MS);
}

/** Ask the server for its secure address, where this one is not. */
async function askWhere() {
  if (isSecureContext) return;
  const answer = await fetch("page/where.json").catch(() => null);
  where = answer?.ok ? await answer.json().catch(() => null) : null;
  if (view === "connect") sayWhatWorks();
}

const given = takeWho();
await dress(() => {
  listKnown();
  if (view === "connect" && waysToConnect().length === 0) sayWhatWorks();
  draw();
});
document.querySelector("main").hidden = false;
listen();
watchOtherTabs((isOpenTwice) => (at("other-tab").hidden = !isOpenTwice));
const before = fromReload(given);
if (before === null) {
  askWho(filledIn(given));
} else {
  enter(before);
  const found = lastWay() === null ? null : await findAgain().catch(() => null);
  if (found !== null) begin(found);
}
askWhere();
install(() => headset !== null).catch(() => {}); // the page works without
