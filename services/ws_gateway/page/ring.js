/** A table of fixed size: the newest `capacity` rows, a typed array a column. Nothing is allocated after it is made. */
export class Ring {
  #capacity;
  #next = 0;
  #names;

  /** `columns` names the kind of array of each: `{ time: Float64Array, attention: Uint8Array }`. */
  constructor(capacity, columns) {
    this.#capacity = capacity;
    this.#names = Object.keys(columns);
    this.columns = Object.fromEntries(this.#names.map((name) => [name, new columns[name](capacity)]));
    this.length = 0;
  }

  /** Add a row: an object with a number for each column. */
  push(row) {
    for (const name of this.#names) this.columns[name][this.#next] = row[name];
    this.#next = (this.#next + 1) % this.#capacity;
    if (this.length < this.#capacity) this.length += 1;
  }

  /** The value of a column `back` rows before the newest (0 is the newest). */
  back(name, back) {
    return this.columns[name][(this.#next - 1 - back + 2 * this.#capacity) % this.#capacity];
  }

  /** Change the value of a column `back` rows before the newest. */
  change(name, back, value) {
    this.columns[name][(this.#next - 1 - back + 2 * this.#capacity) % this.#capacity] = value;
  }

  /** The newest `count` values of a column, oldest first, each as `of` makes it. */
  last(name, count, of = (value) => value) {
    const kept = Math.min(count, this.length);
    return Array.from({ length: kept }, (_, at) => of(this.back(name, kept - 1 - at), kept - 1 - at));
  }
}
