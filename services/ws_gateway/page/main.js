/** The teacher's page: what comes from the gateway, what the teacher does, and one loop that draws. */
import { labelOf, write } from "./badges.js";
import { Bar } from "./bar.js";
import { Cards } from "./cards.js";
import { Alarms, Classroom } from "./classroom.js";
import { Detail } from "./detail.js";
import { dress } from "./look.js";
import { NeuroOneDashboard, newId } from "./neuroone.js";
import { RecordingsView } from "./recordings.js";
import { say, toast } from "./say.js";
import { gatewayUrl, keepToken, takeToken, token } from "./token.js";
import { t, tame, translate } from "./words.js";

/** The screen is looked through so often; a reading comes once a second. */
const LOOK_PERIOD_MS = 400;
/** A raw trace moves all the time. */
const TRACE_PERIOD_MS = 100;
/** Alarms, sums and the order of the cards. */
const SUM_PERIOD_S = 1;
/** Cards change places no more often, so that nobody taps the wrong one. */
const SORT_PERIOD_S = 5;
/** A screen reader hears the sum of the class no more often. */
const TELL_PERIOD_S = 20;
const ALARMS_SHOWN = 50;
/** A marker that the broker has not taken by then is reported. */
const ACK_WITHIN_MS = 5000;
/** Why the gateway refuses a marker. */
const MARKER_REFUSALS = ["not_a_teacher", "too_fast"];
const SORTS = ["name", "seat", "need"];
const SHOWS = ["all", "present", "need"];

const at = (id) => document.getElementById(id);
const clock = () => performance.now() / 1000;

takeToken();
const room = new Classroom();
const alarms = new Alarms();
const seats = new Map(JSON.parse(localStorage.getItem("neuroone.seats") ?? "[]"));
const cards = new Cards(at("cards"), (key) => go("student", key));
const bar = new Bar(room);
const detail = new Detail(room, (key) => watch(key), keepSeat);
const recordings = new RecordingsView(askToken);
const only = new URLSearchParams(location.search).get("code") ?? undefined;

let dashboard = null;
let link = { up: false, broker: false, recorder: false };
let linked_s = clock();
let view = "class";
let chosen = { group: "", sort: "name", show: "all", search: "" };
let listed = { version: -1, at_s: -Infinity };
let summed_s = -Infinity;
let told_s = clock();
let told = "";
let watched = null;
const markers = new Map();

// ---- the gateway

function connect() {
  dashboard?.stop();
  const mine = new NeuroOneDashboard(gatewayUrl(), { token: token(), code: only });
  dashboard = mine;
  const hear = (type, take) => mine.addEventListener(type, ({ detail: said }) => mine === dashboard && take(said));
  hear("reading", (said) => room.takeReading(said, clock()));
  hear("state", (said) => room.takeState(said, clock()));
  hear("recorded", (said) => room.takeRecorded(said, clock()));
  hear("event", (said) => room.takeEvent(said));
  hear("raw", (said) => detail.takeRaw(said));
  hear("ack", ({ marker }) => acknowledged(marker));
  hear("link", (said) => {
    link = { ...link, ...said };
    showLink();
  });
  hear("error", ({ code, message }) => {
    if (code === "no_token") {
      mine.stop(); // until somebody enters another one
      askToken();
    } else if (MARKER_REFUSALS.includes(code)) {
      for (const timer of markers.values()) clearTimeout(timer);
      markers.clear();
      toast(t(`marker.${code}`));
    } else {
      toast(message);
    }
  });
  hear("welcome", () => {
    linked_s = clock();
    link.up = true;
    showLink();
    if (watched !== null) watch(watched);
  });
  hear("close", () => {
    const was = link.up;
    link.up = false;
    showLink();
    if (was) say(t("link.down"));
  });
  mine.start();
}

function showLink() {
  document.body.dataset.link = link.up ? "up" : "down";
  const fault = at("token-dialog").open ? null : !link.up ? "link.down" : link.broker ? null : "link.no_broker";
  const banner = at("banner");
  banner.hidden = fault === null;
  write(banner, fault === null ? "" : t(fault));
}

/** Ask for the raw samples of one student, or of nobody. */
function watch(key) {
  watched = key;
  const student = key === null ? null : room.students.get(key);
  dashboard.write({ type: "watch", group: student?.group ?? null, source: student?.source ?? null });
}

function mark(event, text, codes) {
  for (const code of codes) {
    const id = newId();
    if (!dashboard.mark({ id, event, text, code })) {
      toast(t("marker.unsent"));
      return;
    }
    markers.set(id, setTimeout(() => {
      markers.delete(id);
      toast(t("marker.unconfirmed"));
    }, ACK_WITHIN_MS));
  }
}

function acknowledged(id) {
  if (!markers.has(id)) return;
  clearTimeout(markers.get(id));
  markers.delete(id);
  if (markers.size === 0) toast(t("marker.done"));
}

// ---- the loop

let pause = null;

/** Draw what has changed; frames in which nothing is to be drawn are not asked for. */
function loop() {
  const now_s = clock();
  const isDue = now_s - summed_s >= SUM_PERIOD_S;
  if (isDue) {
    summed_s = now_s;
    sum(now_s);
  } else if (view === "student") {
    detail.draw(now_s);
  }
  const isMore = isDue || (view === "class" && cards.draw(now_s));
  if (isMore) requestAnimationFrame(loop);
  else pause = setTimeout(goOn, view === "student" ? TRACE_PERIOD_MS : LOOK_PERIOD_MS);
}

function goOn() {
  clearTimeout(pause);
  pause = null;
  requestAnimationFrame(loop);
}

function sum(now_s) {
  room.forgetTheLongGone(now_s);
  const students = room.of(chosen.group);
  if (link.up) {
    for (const alarm of alarms.look(room.of(""), now_s, linked_s)) if (isShown(alarm)) sayAlarm(alarm);
  }
  if (view === "class") {
    const isDue = listed.version !== room.version || now_s - listed.at_s > SORT_PERIOD_S;
    if (isDue) arrange(students, now_s);
    showAlarms();
  }
  const sums = bar.show(students, { now_s, link, group: chosen.group, with_unknown: at("with-unknown").checked });
  const news = t("said.sum", { n: sums.connected, good: sums.good, alarms: alarms.open.filter(isShown).length });
  if (now_s - told_s > TELL_PERIOD_S && news !== told) {
    told_s = now_s;
    told = news;
    say(news);
  }
}

function arrange(students, now_s) {
  listed = { version: room.version, at_s: now_s };
  bar.showGroups(chosen.group);
  for (const student of students) student.seat = seats.get(student.key) ?? "";
  const words = chosen.search.toLocaleLowerCase();
  const shown = students.filter((student) => {
    if (words && !`${labelOf(student, cards.hidden)} ${student.seat}`.toLocaleLowerCase().includes(words)) return false;
    if (chosen.show === "present") return student.presence(now_s) !== "offline";
    return chosen.show === "all" || student.need(now_s) < 2;
  });
  const byName = new Intl.Collator(document.documentElement.lang, { numeric: true });
  const names = new Map(shown.map((student) => [student, labelOf(student, cards.hidden)]));
  shown.sort((one, other) => {
    const first = {
      name: 0,
      seat: byName.compare(one.seat || "\uffff", other.seat || "\uffff"),
      need: one.need(now_s) - other.need(now_s),
    }[chosen.sort];
    return first || byName.compare(names.get(one), names.get(other)) || byName.compare(one.key, other.key);
  });
  cards.arrange(shown);
  write(at("shown"), t("shown", { n: shown.length, all: students.length }));
  const empty = at("empty");
  empty.hidden = shown.length > 0;
  write(empty, t(students.length ? "empty.filtered" : "empty.waiting"));
  if (room.refused) write(at("shown"), t("shown.refused", { n: shown.length }));
}

function showAlarms() {
  const open = alarms.open.filter(isShown);
  const box = at("alarms");
  const key = `${document.documentElement.lang} ${cards.hidden} ${open.map((alarm) => alarm.key).join("\n")}`;
  box.hidden = open.length === 0;
  if (box.dataset.shown === key) return;
  box.dataset.shown = key;
  write(at("alarms-title"), t("alarms", { n: open.length }));
  const focused = document.activeElement?.dataset?.alarm;
  box.querySelector("ul").replaceChildren(...open.slice(0, ALARMS_SHOWN).map((alarm) => {
    const item = document.createElement("li");
    const text = document.createElement("span");
    const name = document.createElement("bdi");
    name.textContent = labelOf(alarm.student, cards.hidden);
    text.append(name, `: ${t(`alarm.${alarm.kind}`)}`);
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.alarm = alarm.key;
    button.textContent = t("alarms.one");
    button.setAttribute("aria-label", `${t("alarms.one")}: ${text.textContent}`);
    item.append(text, button);
    return item;
  }));
  at("more-alarms").hidden = open.length <= ALARMS_SHOWN;
  write(at("more-alarms"), t("alarms.more", { n: open.length - ALARMS_SHOWN }));
  if (focused !== undefined) (box.querySelector("button") ?? at("cards")).focus();
}

/** Whether an alarm is about the class on the screen. */
function isShown({ student }) {
  return !chosen.group || student.group === chosen.group;
}

function sayAlarm(alarm) {
  say(`${labelOf(alarm.student, cards.hidden)}: ${t(`alarm.${alarm.kind}`)}`);
}

/** Everything again, with the next frame: something was chosen. */
function again() {
  listed.version = -1;
  summed_s = -Infinity;
  if (pause !== null) goOn();
}

// ---- what the teacher does

function go(where, key = null) {
  if (cards.hidden && where !== "class") {
    toast(t("project.blocked"));
    return;
  }
  const hash = key === null ? `#${where}` : `#${where}/${encodeURIComponent(key)}`;
  if (location.hash !== hash) history.pushState(null, "", hash);
  show();
}

function show() {
  const [where, key] = location.hash.slice(1).split("/");
  const before = view;
  const student = where === "student" ? room.of("").find((each) => encodeURIComponent(each.key) === key) : undefined;
  view = where === "recordings" && !cards.hidden ? where : student && !cards.hidden ? "student" : "class";
  for (const each of ["class", "student", "recordings"]) at(`view-${each}`).hidden = each !== view;
  for (const button of document.querySelectorAll("nav [data-view]")) {
    if (button.dataset.view === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (view === "recordings") recordings.open();
  if (view === "student") detail.open(student);
  else if (before === "student") detail.close();
  if (before !== view) scrollTo(0, 0);
  if (view === "class" && before === "student") at("cards").querySelector('.open[tabindex="0"]')?.focus();
  again();
}

function project() {
  cards.hidden = !cards.hidden;
  document.body.classList.toggle("projecting", cards.hidden);
  bar.hidden = cards.hidden;
  at("project").setAttribute("aria-pressed", String(cards.hidden));
  for (const button of document.querySelectorAll('[data-view="recordings"]')) button.disabled = cards.hidden;
  cards.repaint(clock());
  say(t(cards.hidden ? "project.on" : "project.off"));
  show();
}

function keepSeat(student, seat) {
  student.seat = seat;
  student.version += 1;
  seats.delete(student.key);
  if (seat) seats.set(student.key, seat);
  localStorage.setItem("neuroone.seats", JSON.stringify([...seats].slice(-1000)));
}

function open(dialog) {
  at(dialog).querySelector("form")?.reset();
  at(dialog).showModal();
}

function askToken() {
  const dialog = at("token-dialog");
  write(at("token-fault"), token() === undefined ? "" : t("token.wrong"));
  if (!dialog.open) dialog.showModal();
  showLink();
}

function onSubmit(dialog, done) {
  at(dialog).querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    at(dialog).close();
    done(event.target.elements);
  });
}

onSubmit("token-dialog", ({ token: field }) => {
  keepToken(field.value.trim());
  field.value = "";
  connect();
  if (view === "recordings") recordings.open();
});
onSubmit("start-dialog", ({ text, code }) => {
  const codes = code.value.trim() ? [code.value.trim()] : bar.codes(chosen.group);
  mark("session_start", text.value.trim(), codes);
});
onSubmit("mark-dialog", ({ text }) => mark("marker", text.value.trim(), bar.codes(chosen.group)));
at("token-dialog").addEventListener("cancel", (event) => event.preventDefault());
for (const button of document.querySelectorAll("dialog .cancel")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

function startOrStop() {
  if (at("stop").hidden) {
    open("start-dialog");
    if (chosen.group) at("start-dialog").querySelector('[name="code"]').value = bar.codes(chosen.group)[0] ?? "";
  } else {
    mark("session_stop", "", bar.codes(chosen.group));
  }
}

function openMark() {
  open("mark-dialog");
  write(at("mark-time"), new Date().toLocaleTimeString(document.documentElement.lang));
}

const press = (id, act) => at(id).addEventListener("click", act);
press("start", startOrStop);
press("stop", startOrStop);
press("mark", openMark);
press("help", () => open("help-dialog"));
press("project", project);
press("back", () => go("class"));
press("reload", () => recordings.open());
press("acknowledge-all", acknowledgeAll);
at("alarms").addEventListener("click", ({ target }) => {
  if (target.dataset.alarm === undefined) return;
  alarms.acknowledge(target.dataset.alarm);
  again();
});
for (const button of document.querySelectorAll("nav [data-view]")) {
  button.addEventListener("click", () => go(button.dataset.view));
}
for (const id of ["group", "sort", "show", "search"]) {
  at(id).addEventListener("input", () => {
    chosen = { ...chosen, [id]: at(id).value };
    again();
  });
}
at("with-unknown").addEventListener("change", again);
press("skip", (event) => {
  event.preventDefault();
  (at("cards").querySelector('.open[tabindex="0"]') ?? at("cards")).focus();
});
addEventListener("popstate", show);

function acknowledgeAll() {
  alarms.acknowledgeAll();
  at("cards").focus();
  again();
}

const KEYS = {
  "/": () => at(view === "recordings" ? "recordings-query" : "search").focus(),
  s: startOrStop,
  m: openMark,
  a: acknowledgeAll,
  p: project,
  1: () => go("class"),
  2: () => go("recordings"),
  "?": () => open("help-dialog"),
};

addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  const isTyping = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    if (event.target === at("search")) at("search").value = chosen.search = "";
    if (event.target === at("recordings-query")) {
      at("recordings-query").value = "";
      recordings.search();
    }
    if (isTyping) event.target.blur();
    else if (view !== "class") go("class");
    again();
  } else if (!isTyping && !event.ctrlKey && !event.altKey && !event.metaKey && at("keys").checked && event.key in KEYS) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

at("keys").checked = localStorage.getItem("neuroone.keys") !== "off";
at("keys").addEventListener("change", () => localStorage.setItem("neuroone.keys", at("keys").checked ? "on" : "off"));

function fill(id, choices) {
  const select = at(id);
  select.replaceChildren(...choices.map((each) => new Option(t(`${id}.${each}`), each)));
  select.value = chosen[id];
}

function speakAgain() {
  fill("sort", SORTS);
  fill("show", SHOWS);
  translate(document);
  cards.repaint(clock());
  bar.repaint();
  detail.repaint();
  recordings.repaint();
  showLink();
  again();
}

await dress(speakAgain);
speakAgain();
show();
connect();
requestAnimationFrame(loop);

/** For tests and benches: what the page knows. */
globalThis.neuroone = { room, alarms };
