/** What drops down over the page: a click elsewhere or Escape closes it; the filters stay open where there is room. */

const wide = matchMedia("(min-width: 75rem)");
const filters = document.getElementById("filters");

/** Close what is open, but for one that holds `kept`; true if anything was. */
export function closeDrops(kept = null) {
  const open = [...document.querySelectorAll(".drop[open]")].filter((each) => !(wide.matches && each === filters));
  const closed = open.filter((each) => !each.contains(kept));
  for (const each of closed) {
    const hadFocus = each.contains(document.activeElement);
    each.open = false;
    if (hadFocus && kept === null) each.querySelector("summary").focus();
  }
  return closed.length > 0;
}

document.addEventListener("click", ({ target }) => target.isConnected && closeDrops(target));

function widen() {
  filters.open = wide.matches;
}

wide.addEventListener("change", widen);
widen();
