"""Look at a page as it is drawn: what is cut, what lies over something else, and what is red."""

from contextlib import suppress

from playwright.sync_api import Page, TimeoutError

_COMMON = """
const isSeen = (each) => each.checkVisibility({ checkVisibilityCSS: true }) && each.getClientRects().length > 0
  && !each.closest(".hidden, svg") && getComputedStyle(each).clipPath === "none";
const hasText = (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
const name = (each) => `${each.id || each.className || each.tagName} "${each.textContent.trim().slice(0, 40)}"`;
"""
_FAULTS = f"""() => {{ {_COMMON}
const faults = [];
const meet = (one, other) => {{
  const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
  return a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
}};
const apart = (all) => all.forEach((one, at) => all.slice(at + 1).forEach((other) => {{
  if (one.contains(other) || other.contains(one) || !meet(one, other)) return;
  faults.push(`over another: ${{name(one)}}, ${{name(other)}}`);
}}));
if (document.documentElement.scrollWidth > innerWidth) faults.push("wider than the screen");
const seen = [...document.querySelectorAll("header *, main:not([hidden]) *")].filter(isSeen);
const texts = seen.filter(hasText);
for (const each of texts) {{
  const isCut = each.scrollWidth > each.clientWidth + 1 || each.scrollHeight > each.clientHeight + 2;
  if (each.clientWidth && getComputedStyle(each).display !== "inline" && isCut) faults.push(`cut: ${{name(each)}}`);
}}
for (const each of seen.filter(({{ tagName }}) => tagName === "SELECT")) {{
  const measure = document.createElement("canvas").getContext("2d");
  measure.font = getComputedStyle(each).font;
  const text = each.selectedOptions[0]?.textContent ?? "";
  if (measure.measureText(text).width > each.clientWidth - 24) faults.push(`cut: ${{each.id}} ${{text}}`);
}}
const positionOf = (each) => getComputedStyle(each).position;
const isStatic = (each) => each === null || positionOf(each) === "static";
const shown = texts.filter((each) => isStatic(each.closest(".panel")));
const cards = [...document.querySelectorAll(".card")];
for (const card of cards) {{
  const box = card.getBoundingClientRect();
  const inside = shown.filter((each) => card.contains(each));
  apart(inside);
  for (const each of inside) {{
    const its = each.getBoundingClientRect();
    const isInside = its.right <= box.right && its.bottom <= box.bottom && its.left >= box.left && its.top >= box.top;
    if (!isInside) faults.push(`outside of its tile: ${{name(each)}}`);
  }}
}}
apart(cards);
for (const box of document.querySelectorAll("header, .line")) apart(shown.filter((each) => box.contains(each)));
const bars = [...document.querySelectorAll("header, .line")].filter((each) => positionOf(each) !== "fixed");
apart([...bars, ...cards]);
return faults;
}}"""
_REDS = f"""() => {{ {_COMMON}
const isRed = (colour) => {{
  const [red, green, blue, alpha = 1] = (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const range = red - Math.min(green, blue);
  const hue = (60 * (green - blue)) / range;
  return alpha > 0 && red >= Math.max(green, blue) && range > 60 && hue > -25 && hue < 20;
}};
const found = new Set();
for (const each of document.querySelectorAll("body *")) {{
  if (!each.checkVisibility() || !each.getClientRects().length) continue;
  const style = getComputedStyle(each);
  const border = style.borderTopWidth === "0px" ? "" : style.borderTopColor;
  const stroke = each.closest("svg") ? style.stroke : "";
  if ([style.color, style.backgroundColor, border, stroke].some(isRed)) found.add(each.closest("[id]").id);
}}
return [...found];
}}"""


def wait_for_layout(page: Page) -> None:
    """Wait until nothing is wrong: tiles are fitted anew when a value of another length has come."""
    with suppress(TimeoutError):
        page.wait_for_function(f"() => ({_FAULTS})().length === 0")


def layout_faults(page: Page) -> list[str]:
    """Return what is cut, what lies over something else, and what is outside of its tile or of the screen."""
    faults: list[str] = page.evaluate(_FAULTS)
    return faults


def reds(page: Page) -> set[str]:
    """Return the ids of what is red on the screen."""
    return set(page.evaluate(_REDS))
