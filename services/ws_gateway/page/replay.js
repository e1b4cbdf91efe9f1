/** Readings out of a recorded CSV: the old `{Nome}.csv`, or the `readings.csv` of a session. */

const OLD = {
  Att: "attention", Med: "meditation", Delta: "delta", Theta: "theta", LowAlpha: "low_alpha", HighAlpha: "high_alpha",
  LowBeta: "low_beta", HighBeta: "high_beta", LowGamma: "low_gamma", MiddleGamma: "mid_gamma",
};
const VALUES = Object.values(OLD);

/** A column that a CSV of readings must have is not there; the message is its name. */
export class MissingColumn extends Error {}

/** The readings of a CSV, in order. Lines that are cut or wrong are left out. */
export function readingsOf(text) {
  const [header = "", ...lines] = text.replace(/^\ufeff/, "").split(/\r?\n/);
  const names = header.split(",").map((name) => OLD[name.trim()] ?? name.trim());
  for (const value of VALUES) if (!names.includes(value)) throw new MissingColumn(value);
  const places = Object.fromEntries([...VALUES, "poor_signal"].map((name) => [name, names.indexOf(name)]));
  const readings = [];
  for (const line of lines) {
    const cells = line.split(",");
    if (cells.length !== names.length) continue;
    const reading = Object.fromEntries(VALUES.map((name) => [name, Number(cells[places[name]] || NaN)]));
    const poor = cells[places.poor_signal];
    reading.poor_signal = poor === undefined || poor === "" ? null : Number(poor);
    if (Object.values(reading).every((value) => value === null || Number.isInteger(value))) readings.push(reading);
  }
  return readings;
}
