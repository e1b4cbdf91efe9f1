/** Starting and ending lessons, and marking a moment. */
import { write } from "./badges.js";
import { EVERYBODY } from "./classroom.js";

const at = (id) => document.getElementById(id);

export class Lesson {
  #room;
  #link;
  #group = "";

  constructor(room, link) {
    this.#room = room;
    this.#link = link;
    onSubmit("start-dialog", ({ text, code }) => {
      const typed = code.value.trim();
      this.#link.mark("session_start", text.value.trim(), [typed === "" ? undefined : typed]);
    });
    onSubmit("mark-dialog", ({ text }) => {
      const group = this.#group;
      this.#link.mark("marker", text.value.trim(), [group ? (this.#codeOf(group) ?? group) : undefined]);
    });
  }

  /** Ask for the name of a lesson to start, or end the one that runs. */
  startOrStop(group) {
    const running = [...this.#room.lessonsOf(group).keys()];
    if (running.length) {
      this.#link.mark("session_stop", "", running.map((each) => (each === EVERYBODY ? undefined : (this.#codeOf(each) ?? each))));
      return;
    }
    open("start-dialog");
    if (group) at("start-dialog").querySelector('[name="code"]').value = this.#codeOf(group) ?? "";
  }

  /** The code of a class; students without a code are a class too. */
  #codeOf(group) {
    return this.#room.groups().get(group)?.code;
  }

  mark(group) {
    this.#group = group;
    open("mark-dialog");
    write(at("mark-time"), new Date().toLocaleTimeString(document.documentElement.lang));
  }
}

/** Open a dialog with empty fields. */
export function open(dialog) {
  at(dialog).querySelector("form")?.reset();
  at(dialog).showModal();
}

/** Call `done` with the fields of a dialog that was filled in. */
export function onSubmit(dialog, done) {
  at(dialog).querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    at(dialog).close();
    done(event.target.elements);
  });
}
