"""The colours of the window."""

import pytest

pytestmark = pytest.mark.gui


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2.2)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("name", ["LIGHT", "DARK"])
def test_colours_have_enough_contrast_to_the_ground(name: str) -> None:
    """At least 3:1 for every line, shape and text, and 4.5:1 for text in ink (WCAG 2.2)."""
    from monitor_gui import themes

    colours: dict[str, str] = getattr(themes, name)
    ground = luminance(colours["ground"])
    for each in colours.keys() - {"ground", "grid", "shade"}:
        low, high = sorted((ground, luminance(colours[each])))
        contrast = (high + 0.05) / (low + 0.05)
        assert contrast >= (4.5 if each == "ink" else 3.0), f"{each}: {contrast:.1f}"


def test_both_themes_colour_the_same_things() -> None:
    from monitor_gui import themes
    from monitor_gui.view import LINES

    assert themes.LIGHT.keys() == themes.DARK.keys() >= set(LINES)
