/** The lesson's door: who may come in, who waits at it, and who was removed; and whether raw samples are recorded. */
import { fullLabelOf, write } from "./badges.js";
import { EVERYBODY } from "./classroom.js";
import { say } from "./say.js";
import { t, tame } from "./words.js";

const DOORS = ["open", "ask", "closed"];

const at = (id) => document.getElementById(id);

export class Door {
  #room;
  #link;
  #group = EVERYBODY;
  #waiting = { students: [], more: 0, removed: [] };
  #known = new Set();
  #shown = "";
  #removing = null;

  constructor(room, link) {
    this.#room = room;
    this.#link = link;
    at("door").addEventListener("change", ({ target }) => {
      const group = this.#group;
      if (target.id !== "keep-raw") this.#write({ type: "door", state: target.value, group });
      else if (!this.#write({ type: "raw_wanted", wanted: target.checked, group })) target.checked = !target.checked;
    });
    at("door").addEventListener("click", ({ target }) => {
      const { admit, refuse } = target.dataset;
      if (admit !== undefined) this.#write({ type: "admit", id: admit });
      if (refuse !== undefined) this.#write({ type: "refuse", id: refuse });
    });
    at("remove").addEventListener("click", () => at("remove-dialog").showModal());
    at("remove-dialog").querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      at("remove-dialog").close();
      const { group, source } = this.#removing;
      this.#write({ type: "remove", group, source });
    });
  }

  takeWaiting({ students, more = 0, removed = [] }) {
    const fresh = students.filter(({ id }) => !this.#known.has(id));
    this.#known = new Set(students.map(({ id }) => id));
    if (fresh.length) say(t("door.waits", { n: students.length, who: fresh.map(nameOf).join(", ") }));
    this.#waiting = { students, more, removed };
  }

  /** Show the door of the lesson that runs, if it is one. */
  show(group) {
    const lessons = [...this.#room.lessonsOf(group)];
    const box = at("door");
    box.hidden = lessons.length !== 1;
    at("with-raw").hidden = !lessons.some(([, { raw }]) => raw);
    if (box.hidden) return;
    const [[its, { door, raw }]] = lessons;
    this.#group = its;
    at("keep-raw").checked = raw; // also if the gateway has refused the switch
    const { students, more, removed } = this.#waiting;
    const key = JSON.stringify([document.documentElement.lang, its, door, this.#waiting]);
    if (this.#shown === key) return;
    this.#shown = key;
    const count = students.length + more;
    box.toggleAttribute("data-waiting", count > 0);
    write(at("door-what"), count ? t("door.waiting", { n: count }) : t("door.short"));
    write(at("door-state"), count ? "" : t(`door.${door}`));
    for (const state of DOORS) box.querySelector(`[value="${state}"]`).checked = state === door;
    const focused = document.activeElement?.dataset ?? {};
    fill("door-waiting", students.map((each) => itemOf(each, [["admit", "main"], ["refuse", ""]])));
    fill("door-removed", removed.map((each) => itemOf(each, [["admit", ""]])));
    at("door-more").hidden = more === 0;
    write(at("door-more"), t("alarms.more", { n: more }));
    if (focused.admit !== undefined || focused.refuse !== undefined) (at("door-waiting").querySelector("button") ?? box.querySelector("summary")).focus();
  }

  /** Offer to remove this student from the lesson that runs. */
  offer(student) {
    this.#removing = student;
    at("remove").hidden = this.#room.lessonsOf(student.group).size === 0;
    write(at("remove-who"), t("remove.who", { name: fullLabelOf(student) }));
  }

  #write(message) {
    const isSent = this.#link.write(message);
    if (!isSent) this.#link.show();
    return isSent;
  }
}

/** The name, with the code: two who wait may have one name. */
function nameOf({ name, code, group, source }) {
  return [tame(name ?? source ?? t("door.nameless")), tame(code ?? group ?? "", 12)].filter((each) => each).join(" · ");
}

function fill(id, items) {
  at(id).parentElement.hidden = items.length === 0;
  at(id).replaceChildren(...items);
}

function itemOf(student, acts) {
  const item = document.createElement("li");
  const who = document.createElement("bdi");
  who.textContent = nameOf(student);
  const why = document.createElement("small");
  why.textContent = student.reason && student.reason !== "new" ? t(`door.reason.${student.reason}`) : "";
  const text = document.createElement("span");
  text.append(who, " ", why);
  const buttons = acts.map(([act, look]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = look;
    button.dataset[act] = student.id;
    button.textContent = t(`door.act.${act}`);
    button.setAttribute("aria-label", `${button.textContent}: ${who.textContent}`);
    return button;
  });
  item.append(text, ...buttons);
  return item;
}
