/** How many tiles stand side by side and how high they are, and which form of a name a tile has room for. */

const GAP = 6;
/** Below this a name of two words does not fit. */
const WIDTH_MIN = 128;
/** Two lines of a name, the numbers and a little chart. */
const HEIGHT_MIN = 80;
const WIDTH_MAX = 340;
const HEIGHT_MAX = 170;
/** Where not all tiles fit on the screen and the page is scrolled. */
const SCROLLED_WIDTH = 180;
/** Of so many only few are in view anyway: larger tiles keep the work of the browser at that of a class. */
const MANY = 100;
const MANY_WIDTH = 240;
const MANY_HEIGHT = 136;
const SCROLLED_HEIGHT = 98;
/** Width to height of a tile that is easily read. */
const SHAPE = 1.75;
const FONT_MIN = 13;
const FONT_MAX = 19;
/** Lines of text that a tile is high. */
const LINES = 7.6;
/** Words between names that initials leave out. */
const PARTICLES = /^(d[aeo]s?|di|du|del|van|von|der|den|y|e)$/iu;

/** Return `{ columns, width, height, font }` of the tiles in pixels: the largest with which all are in view. */
export function fit(count, width, height) {
  const roomFor = (each) => Math.max(1, Math.floor((width + GAP) / (each + GAP)));
  let best = null;
  for (let columns = 1; columns <= Math.min(count, roomFor(WIDTH_MIN)); columns += 1) {
    const rows = Math.ceil(count / columns);
    const wide = Math.min(WIDTH_MAX, Math.floor((width + GAP) / columns) - GAP);
    const high = Math.min(HEIGHT_MAX, Math.floor((height + GAP) / rows) - GAP);
    const scale = Math.min(wide / SHAPE, high);
    if (high >= HEIGHT_MIN && (best === null || scale > best.scale)) best = { columns, width: wide, height: high, scale };
  }
  if (best === null) {
    const columns = roomFor(count > MANY && width > 2 * MANY_WIDTH ? MANY_WIDTH : SCROLLED_WIDTH);
    const wide = Math.floor((width + GAP) / columns) - GAP;
    const high = wide < MANY_WIDTH ? SCROLLED_HEIGHT : MANY_HEIGHT;
    best = { columns, width: wide, height: high, scale: Math.min(wide / SHAPE, high) };
  }
  return { ...best, font: Math.min(FONT_MAX, Math.max(FONT_MIN, best.scale / LINES)) };
}

/** The forms of a name, the longest first: in full, with initials between, first and last. */
export function formsOf(name) {
  const words = name.split(" ").filter((word) => word !== "");
  if (words.length < 3 || !words.every((word) => /^\p{L}/u.test(word))) return [name];
  const middle = words.slice(1, -1).filter((word) => !PARTICLES.test(word)).map((word) => `${[...word][0]}.`);
  return [name, [words[0], ...middle, words.at(-1)].join(" "), `${words[0]} ${words.at(-1)}`];
}
