/** The first page of a district: the schools that a token opens. */
import { dress } from "./look.js";
import { schools } from "./schools.js";
import { keepToken, takeToken, token } from "./token.js";
import { t } from "./words.js";

async function show() {
  const found = await schools();
  const links = found.map(({ site, name }) => {
    const link = document.createElement("a");
    link.href = `${site}/`;
    link.textContent = name;
    const item = document.createElement("li");
    item.append(link);
    return item;
  });
  document.getElementById("schools").replaceChildren(...links);
  document.getElementById("none").textContent = links.length || token() === undefined ? "" : t("token.wrong");
}

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(event.target.token.value.trim());
  event.target.reset();
  show();
});
takeToken();
await dress(show);
await show();
