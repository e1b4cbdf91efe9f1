/** A student's app for trying the system: sliders or a recorded file instead of a headset. */
import { write } from "./badges.js";
import { BANDS } from "./classroom.js";
import { ofSchool } from "./folder.js";
import { dress } from "./look.js";
import { IndexedDbStore, NeuroOneStudent } from "./neuroone.js";
import { MissingColumn, readingsOf } from "./replay.js";
import { gatewayUrl } from "./token.js";
import { number, t } from "./words.js";

const PERIOD_MS = 1000;
const BAND_START = 200_000;
const BAND_MAX = 16_777_215;
/** What the choices of signal quality send; null: nothing. */
const SIGNALS = [["good", 0], ["adjusting", 26], ["poor", 100], ["off", 200], ["unsaid", null]];

const at = (id) => document.getElementById(id);
const values = { attention: 60, meditation: 50, ...Object.fromEntries(BANDS.map((band) => [band, BAND_START])) };

let student = null;
let link = "off";
let recorder = null;
let acked = { broker: -1, recorded: -1 };
let sent = 0;
let fault = "";
let timer = null;
let rows = [];
let row = 0;
let file = null;
let marks = 0;

function connect({ name, code, join }) {
  student = new NeuroOneStudent(gatewayUrl(), {
    name: name.value.trim() || null, code: code.value.trim() || null, token: join.value.trim() || undefined,
    acks: "recorded", store: new IndexedDbStore(ofSchool("neuroone")),
  });
  acked = { broker: -1, recorded: -1 };
  sent = 0;
  fault = "";
  const mine = student;
  const hear = (type, take) => mine.addEventListener(type, ({ detail }) => {
    if (mine !== student) return;
    take(detail);
    show();
  });
  hear("welcome", () => (link = "on"));
  hear("door", ({ state }) => (link = `door.${state}`));
  hear("close", ({ code: why }) => {
    if (link !== "refused") link = why === 4001 ? "taken" : "trying";
  });
  hear("link", (said) => (recorder = said.recorder));
  hear("ack", ({ stage, seq }) => {
    if (seq !== undefined) acked[stage] = Math.max(acked[stage], seq);
  });
  hear("error", ({ code, field, message }) => {
    fault = field ? `${field}: ${message}` : message;
    if (code === "no_join_code") {
      link = "refused";
      mine.stop(); // until somebody enters another one
    }
  });
  hear("storefault", (why) => (fault = String(why)));
  link = "trying";
  mine.start().catch((why) => (fault = String(why)));
  timer = setInterval(send, PERIOD_MS);
  show();
}

function disconnect() {
  clearInterval(timer);
  student.stop();
  student = null;
  link = "off";
  show();
}

function send() {
  const reading = next();
  if (reading !== null) {
    sent += student.send(reading) !== null;
  }
  show();
}

/** The next reading; null when there is none to send. */
function next() {
  const what = document.querySelector('[name="what"]:checked').value;
  if (what === "replay") return rows.length ? rows[row++ % rows.length] : null;
  if (what === "wander") {
    for (const name of ["attention", "meditation"]) set(name, Math.round(clamp(values[name] + 16 * Math.random() - 8, 1, 100)));
    for (const band of BANDS) set(band, Math.round(clamp(values[band] * (0.7 + 0.6 * Math.random()), 1000, BAND_MAX)));
  }
  const poor_signal = new Map(SIGNALS).get(at("poor").value);
  const off = poor_signal === 200 ? { attention: 0, meditation: 0 } : {};
  const mid_gamma = values.mid_gamma + (sent % 10); // ten equal numbers for 10 s are taken for a headset that is gone
  return { poor_signal, ...values, mid_gamma, ...off };
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

function set(name, value) {
  values[name] = value;
  at(name).value = value;
  at(`${name}-value`).textContent = number(value);
}

function show() {
  const isOn = student !== null;
  at("connect").disabled = isOn;
  at("disconnect").disabled = !isOn;
  at("mark").disabled = link !== "on";
  for (const field of at("who").querySelectorAll("input")) field.disabled = isOn;
  write(at("link"), t(`try.link.${link}`));
  write(at("recorder"), recorder === null || !isOn ? "--" : t(recorder ? "try.recorder.yes" : "try.recorder.no"));
  write(at("session"), student?.session ?? "--");
  write(at("sent"), number(sent));
  write(at("acked"), acked.broker < 0 ? "--" : number(acked.broker));
  write(at("recorded"), acked.recorded < 0 ? "--" : number(acked.recorded));
  write(at("waiting"), number(student?.waiting ?? 0));
  write(at("fault"), fault || "--");
  at("fault").classList.toggle("fault", fault !== "");
}

function showFile() {
  let words = t("try.file.none");
  if (file?.missing) words = t("try.file.bad", { column: file.missing });
  else if (file) words = t("try.file.state", { n: rows.length });
  write(at("file-state"), words);
}

function showChoices() {
  const chosen = at("poor").value || "good";
  at("poor").replaceChildren(...SIGNALS.map(([name, poor]) => {
    const words = name === "unsaid" ? t("try.signal.unsaid") : `${t(`contact.${name}`)} (${poor})`;
    return new Option(words, name);
  }));
  at("poor").value = chosen;
  for (const name of Object.keys(values)) {
    at(`${name}-label`).textContent = t(name);
    at(`${name}-value`).textContent = number(values[name]);
  }
  showFile();
  show();
}

for (const name of Object.keys(values)) {
  const line = document.createElement("div");
  line.className = "slider";
  const label = document.createElement("label");
  label.htmlFor = name;
  label.id = `${name}-label`;
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", id: name, min: 0, max: BANDS.includes(name) ? 2_000_000 : 100, value: values[name] });
  slider.addEventListener("input", () => set(name, slider.valueAsNumber));
  const output = document.createElement("output");
  output.id = `${name}-value`;
  output.htmlFor = name;
  line.append(label, slider, output);
  at("sliders").append(line);
}

at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  connect(event.target.elements);
});
at("disconnect").addEventListener("click", disconnect);
at("mark").addEventListener("click", () => student.mark({ id: `${student.session}-${(marks += 1)}`, text: "" }));
at("file").addEventListener("change", async ({ target }) => {
  rows = [];
  row = 0;
  file = target.files[0] ? {} : null;
  try {
    if (file) rows = readingsOf(await target.files[0].text());
    if (rows.length) document.querySelector('[name="what"][value="replay"]').checked = true;
  } catch (why) {
    if (!(why instanceof MissingColumn)) throw why;
    file.missing = why.message;
  }
  showFile();
});

await dress(showChoices);
showChoices();
