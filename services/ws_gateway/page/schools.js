/** The schools of a district: a gateway may have several, and a token opens one, some or all of them. */
import { credentials } from "./token.js";

/** The schools that the token opens; none where the gateway is that of one school. */
export async function schools() {
  const answer = await fetch("sites", { headers: credentials() }).catch(() => null);
  return answer?.ok ? answer.json() : [];
}

/** Let the teacher go over to another school, if there is one. */
export async function offerSchools() {
  const found = await schools();
  const chooser = document.getElementById("school");
  chooser.replaceChildren(...found.map(({ site, name }) => new Option(name, site)));
  chooser.value = location.pathname.split("/").at(-2);
  chooser.parentElement.hidden = found.length < 2;
  chooser.onchange = () => location.assign(`../${chooser.value}/`);
}
