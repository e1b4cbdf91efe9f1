/** How a device comes to trust this server: the steps of its own system are open, the others a click away. */
import { dress } from "./look.js";
import { t } from "./words.js";

const SYSTEMS = [
  ["ios", /iPhone|iPad|iPod/],
  ["firefox", /Firefox/],
  ["android", /Android/],
  ["chromeos", /CrOS/],
  ["windows", /Windows/],
  ["macos", /Macintosh/],
  ["linux", /Linux/],
];

/** Return where https is, and whether there is an authority; without an answer, assume there is one. */
async function where() {
  try {
    return await (await fetch("page/where.json")).json();
  } catch {
    return { https: null, ca: true };
  }
}

function sayHere() {
  const port = location.protocol === "http:" && location.port ? `:${location.port}` : "";
  document.getElementById("here").textContent = t("trust.here", { address: `http://localhost${port}/student` });
}

const found = SYSTEMS.find(([, pattern]) => pattern.test(navigator.userAgent));
if (found) document.getElementById(found[0]).open = true;
await dress(sayHere);
sayHere();
const { https, ca } = await where();
document.getElementById("none").hidden = ca;
document.getElementById("get").hidden = !ca;
if (https) {
  const open = document.getElementById("open");
  open.href = new URL("student", https);
  open.hidden = false;
}
