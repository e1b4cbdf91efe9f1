/** The teacher's page: what comes from the gateway, what the teacher does, and one loop that draws. */
import { Alerts, AlertsDrawer, wordsOf } from "./alerts.js";
import { fullLabelOf, labelOf, write } from "./badges.js";
import { Bar } from "./bar.js";
import { Cards } from "./cards.js";
import { Classroom } from "./classroom.js";
import { Detail } from "./detail.js";
import { Door } from "./door.js";
import { closeDrops } from "./drops.js";
import { Invite } from "./invite.js";
import { Lesson, onSubmit, open } from "./lesson.js";
import { GatewayLink } from "./link.js";
import { dress } from "./look.js";
import { Projection } from "./projection.js";
import { RecordingsView } from "./recordings.js";
import { say, toast } from "./say.js";
import { offerSchools } from "./schools.js";
import { Seats } from "./seats.js";
import { keepToken, takeToken, token } from "./token.js";
import { t, translate } from "./words.js";

/** The screen is looked through so often; a reading comes once a second. */
const LOOK_PERIOD_MS = 400;
/** A raw trace moves all the time. */
const TRACE_PERIOD_MS = 100;
/** Alerts, sums and the order of the tiles. */
const SUM_PERIOD_S = 1;
/** Tiles change places no more often, so that nobody taps the wrong one. */
const SORT_PERIOD_S = 5;
/** A screen reader hears the sum of the class no more often. */
const TELL_PERIOD_S = 20;
const VIEWS = ["class", "projection", "student", "recordings"];
const SORTS = ["name", "seat", "need"];
const SHOWS = ["all", "present", "need"];

const at = (id) => document.getElementById(id);
const clock = () => performance.now() / 1000;

takeToken();
const only = new URLSearchParams(location.search).get("code") ?? undefined;
const room = new Classroom();
const alerts = new Alerts();
const seats = new Seats();
const drawer = new AlertsDrawer(acknowledge);
const cards = new Cards(at("cards"), (key) => go("student", key));
const bar = new Bar(room, only);
const projection = new Projection();
const detail = new Detail(room, (key) => watch(key), (student, seat) => seats.keep(student, seat));
const recordings = new RecordingsView(askToken);
const invite = new Invite(room, askToken);
const link = new GatewayLink(only, {
  reading: (said) => room.takeReading(said, clock()),
  state: (said) => room.takeState(said, clock()),
  recorded: (said) => room.takeRecorded(said, clock()),
  event: (said) => room.takeEvent(said),
  lesson: (said) => room.takeLesson(said),
  waiting: (said) => door.takeWaiting(said),
  raw: (said) => detail.takeRaw(said),
  refused: askToken,
  up: () => {
    linked_s = clock();
    door.takeWaiting({ students: [] }); // who waits is told after this, unless nobody does
    if (watched !== null) watch(watched);
    offerSchools();
  },
  down: () => say(t("link.down")),
});
const lesson = new Lesson(room, link);
const door = new Door(room, link);

let linked_s = clock();
let view = "class";
let chosen = { group: "", sort: "name", show: "all", search: "" };
let listed = { version: -1, at_s: -Infinity };
let summed_s = -Infinity;
let told_s = clock();
let told = "";
let watched = null;

/** Ask for the raw samples of one student, or of nobody. */
function watch(key) {
  watched = key;
  const student = key === null ? null : room.students.get(key);
  link.write({ type: "watch", group: student?.group ?? null, source: student?.source ?? null });
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
  room.tellApart(now_s);
  chosen.group = bar.showGroups(chosen.group);
  const students = room.of(chosen.group);
  if (link.up) {
    const fresh = alerts.check(room.of(""), now_s, linked_s);
    if (!projection.isOn) for (const alert of fresh) if (isShown(alert)) say(wordsOf(alert));
  }
  const open = alerts.open.filter(isShown);
  drawer.show(projection.isOn ? [] : open);
  const isArranging = listed.version !== room.version || now_s - listed.at_s > SORT_PERIOD_S;
  if (view === "class" && isArranging) arrange(students, now_s);
  const sums = bar.show(students, { now_s, link, group: chosen.group });
  door.show(chosen.group);
  projection.show(sums, now_s);
  const news = t("said.sum", { n: sums.connected, good: sums.good, alarms: open.length });
  if (now_s - told_s > TELL_PERIOD_S && news !== told) {
    told_s = now_s;
    told = news;
    say(news);
  }
}

function arrange(students, now_s) {
  listed = { version: room.version, at_s: now_s };
  seats.give(students);
  const words = chosen.search.toLocaleLowerCase();
  const shown = students.filter((student) => {
    if (words && !`${fullLabelOf(student)} ${student.seat}`.toLocaleLowerCase().includes(words)) return false;
    if (chosen.show === "present") return student.presence(now_s) !== "offline";
    return chosen.show === "all" || student.need(now_s) < 2;
  });
  const byName = new Intl.Collator(document.documentElement.lang, { numeric: true });
  const names = new Map(shown.map((student) => [student, labelOf(student)]));
  shown.sort((one, other) => {
    const first = {
      name: 0,
      seat: byName.compare(one.seat || "\uffff", other.seat || "\uffff"),
      need: one.need(now_s) - other.need(now_s),
    }[chosen.sort];
    return first || byName.compare(names.get(one), names.get(other)) || byName.compare(one.key, other.key);
  });
  bar.showFilters(chosen);
  const counts = { n: shown.length, all: students.length };
  at("shown").hidden = shown.length === students.length && !room.refused;
  write(at("shown"), t(room.refused ? "shown.refused" : "shown", counts));
  at("empty").hidden = shown.length > 0;
  write(at("empty"), t(students.length ? "empty.filtered" : "empty.waiting"));
  cards.arrange(shown);
}

/** Whether an alert is about the class on the screen. */
function isShown({ student }) {
  return !student.isReplaced && (!chosen.group || student.group === chosen.group);
}

/** Everything again, with the next frame: something was chosen. */
function again() {
  listed.version = -1;
  summed_s = -Infinity;
  if (pause !== null) goOn();
}

// ---- what the teacher does

function go(where, key = null) {
  const hash = key === null ? `#${where}` : `#${where}/${encodeURIComponent(key)}`;
  if (location.hash !== hash) history.pushState(null, "", hash);
  show();
}

function show() {
  const [where, key] = location.hash.slice(1).split("/");
  const before = view;
  const student = where === "student" ? room.of("").find((each) => encodeURIComponent(each.key) === key) : undefined;
  view = where === "recordings" ? where : student ? "student" : "class";
  if (projection.isOn) view = "projection";
  for (const each of VIEWS) at(`view-${each}`).hidden = each !== view;
  for (const button of document.querySelectorAll("nav [data-view]")) {
    if (button.dataset.view === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (view === "recordings") recordings.open();
  if (view === "student") {
    detail.open(student);
    door.offer(student);
    at("invite-student").hidden = student.name === null;
  }
  if (view !== "student" && before === "student") detail.close();
  if (view === "projection") cards.arrange([]);
  if (before !== view) scrollTo(0, 0);
  if (view === "class" && before === "student") at("cards").querySelector('.open[tabindex="0"]')?.focus();
  again();
}

/** Show the wall's view, or the class again. */
function project() {
  projection.turn();
  say(t(projection.isOn ? "project.on" : "project.off"));
  show();
  (projection.isOn ? at("view-projection") : at("project")).focus();
}

function askToken() {
  const dialog = at("token-dialog");
  write(at("token-fault"), token() === undefined ? "" : t("token.wrong"));
  if (!dialog.open) dialog.showModal();
  link.show();
}

onSubmit("token-dialog", ({ token: field }) => {
  keepToken(field.value.trim());
  field.value = "";
  link.connect();
  if (view === "recordings") recordings.open();
});
at("token-dialog").addEventListener("cancel", (event) => event.preventDefault());
for (const button of document.querySelectorAll("dialog .cancel")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

function acknowledge(keys) {
  alerts.acknowledge(keys);
  again();
}

/** Invite the class on the screen: the chosen one, the one of the address, or the only one. */
function inviteClass() {
  const codes = [...room.groups()].filter(([group, { count }]) => (chosen.group ? group === chosen.group : count !== 1));
  invite.open({ code: only ?? (codes.length === 1 ? codes[0][1].code : null) });
}

function inviteStudent() {
  invite.open(room.of("").find((each) => location.hash === `#student/${encodeURIComponent(each.key)}`) ?? {});
}

const acts = {
  start: () => lesson.startOrStop(chosen.group),
  stop: () => lesson.startOrStop(chosen.group),
  mark: () => lesson.mark(chosen.group),
  help: () => open("help-dialog"),
  invite: inviteClass,
  "invite-too": inviteClass,
  "invite-student": inviteStudent,
  project,
  "project-too": project,
  leave: project,
  back: () => go("class"),
  reload: () => recordings.open(),
  skip: (event) => {
    event.preventDefault();
    (at("cards").querySelector('.open[tabindex="0"]') ?? at("cards")).focus();
  },
};
for (const [id, act] of Object.entries(acts)) at(id).addEventListener("click", act);
for (const button of document.querySelectorAll("nav [data-view]")) {
  button.addEventListener("click", () => go(button.dataset.view));
}
for (const id of ["group", "sort", "show", "search"]) {
  at(id).addEventListener("input", () => {
    if (at(id).value === "*") location.search = ""; // from one class to all of them
    else chosen = { ...chosen, [id]: at(id).value };
    again();
  });
}
at("with-unknown").addEventListener("change", again);
at("with-curve").addEventListener("change", again);
addEventListener("popstate", show);

const KEYS = {
  "/": () => find(),
  s: acts.start,
  m: acts.mark,
  a: () => acknowledge(alerts.open.filter(isShown).map(({ key }) => key)),
  i: inviteClass,
  p: project,
  c: () => at("with-curve").click(),
  1: () => go("class"),
  2: () => go("recordings"),
  "?": acts.help,
};
/** What there is to do in front of the class. */
const PROJECTION_KEYS = ["p", "c"];

function find() {
  if (view !== "recordings") at("filters").open = true;
  at(view === "recordings" ? "recordings-query" : "search").focus();
}

addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  const isTyping = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    escape(event.target, isTyping);
  } else if (!isTyping && !event.ctrlKey && !event.altKey && !event.metaKey && at("keys").checked && event.key in KEYS) {
    event.preventDefault();
    if (projection.isOn && !PROJECTION_KEYS.includes(event.key)) toast(t("project.blocked"));
    else KEYS[event.key]();
  }
});

function escape(target, isTyping) {
  if (target === at("search")) at("search").value = chosen.search = "";
  if (target === at("recordings-query")) {
    at("recordings-query").value = "";
    recordings.search();
  }
  if (projection.isOn) project();
  else if (closeDrops()) return;
  else if (isTyping) target.blur();
  else if (view !== "class") go("class");
  again();
}

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
  invite.repaint();
  link.show();
  again();
}

await dress(speakAgain);
speakAgain();
show();
link.connect();
requestAnimationFrame(loop);

/** For tests and benches: what the page knows. */
globalThis.neuroone = { room, alerts };
