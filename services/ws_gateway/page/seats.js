/** Where each student sits: typed in by the teacher, kept in this browser, found again by the name under another code. */
import { ofSchool } from "./folder.js";

const KEPT = ofSchool("neuroone.seats");
const KEPT_MAX = 1000;

export class Seats {
  #seats = new Map(JSON.parse(localStorage.getItem(KEPT) ?? "[]"));

  give(students) {
    for (const student of students) student.seat = this.#seats.get(keyOf(student)) ?? this.#seats.get(student.key) ?? "";
  }

  keep(student, seat) {
    student.seat = seat;
    student.version += 1;
    for (const key of [student.key, keyOf(student)]) this.#seats.delete(key);
    if (seat) this.#seats.set(keyOf(student), seat);
    localStorage.setItem(KEPT, JSON.stringify([...this.#seats].slice(-KEPT_MAX)));
  }
}

/** A code is new at each start of some apps; a name that two have says nothing. */
function keyOf({ key, name, apart }) {
  return name === null || apart ? key : `name ${name}`;
}
