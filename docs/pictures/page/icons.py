"""Draw the icons of the student's page from icon.svg.

    python3 run.py exec python -m docs.pictures.page.icons

An icon that systems cut into their own shape (maskable) fills the whole square, with its drawing in the middle.
"""

from typing import Final

from tests.support.browser import chromium
from ws_gateway.http.pages import PAGE

SIZES: Final = (192, 512)
SAFE: Final = 0.72
"""Share of a maskable icon's width for the drawing: systems show at least the inner circle of 80 %."""
GROUND: Final = "#1565c0"


def main() -> None:
    """Write the pictures beside icon.svg."""
    drawing = (PAGE / "icon.svg").read_text(encoding="utf-8")
    with chromium() as browser:
        for size in SIZES:
            page = browser.new_page(viewport={"width": size, "height": size})
            for name, inner, ground in (("icon", 1.0, "transparent"), ("icon-maskable", SAFE, GROUND)):
                box = f"width:{size * inner}px;height:{size * inner}px;margin:{size * (1 - inner) / 2}px"
                page.set_content(f'<body style="margin:0;background:{ground}"><div style="{box}">{drawing}</div>')
                page.screenshot(path=PAGE / f"{name}-{size}.png", omit_background=True)


if __name__ == "__main__":
    main()
