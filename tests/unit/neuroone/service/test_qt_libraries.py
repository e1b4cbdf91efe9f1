"""Tests of how missing libraries of Qt are found and named."""

from pathlib import Path

import pytest

from neuroone.service import qt_libraries

LACKS = ["libxcb-cursor.so.0", "libxcb-icccm.so.4", "libxcb-keysyms.so.1"]


@pytest.mark.parametrize(
    ("os_release", "command"),
    [
        ("ID=debian\n", "sudo apt install libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "sudo apt install libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1"),
        ("# a comment\nID=fedora\n", "sudo dnf install xcb-util-cursor xcb-util-keysyms xcb-util-wm"),
        ("ID=manjaro\nID_LIKE=arch\n", "sudo pacman -S xcb-util-cursor xcb-util-keysyms xcb-util-wm"),
        (
            'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n',
            "sudo zypper install libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1",
        ),
        ("ID=unheard\n", ", ".join(LACKS)),
        ('ID="torn\n', ", ".join(LACKS)),
    ],
)
def test_the_packages_are_those_of_this_system(os_release: str, command: str, tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text(os_release)
    assert qt_libraries.install_command(LACKS, file) == command


def test_a_library_without_a_known_package_is_named_itself(tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text("ID=debian\n")
    assert qt_libraries.install_command(["libnew.so.1"], file) == "libnew.so.1"
    assert qt_libraries.install_command(["libEGL.so.1"], tmp_path / "none") == "libEGL.so.1"


@pytest.mark.parametrize(
    ("environ", "plugins"),
    [
        ({}, ["xcb"]),
        ({"WAYLAND_DISPLAY": "wayland-0"}, ["wayland", "xcb"]),
        ({"QT_QPA_PLATFORM": "wayland-egl;xcb"}, ["wayland", "xcb"]),
        ({"QT_QPA_PLATFORM": "offscreen:size=800x600"}, ["offscreen"]),
    ],
)
def test_the_plugins_are_those_that_qt_tries(environ: dict[str, str], plugins: list[str]) -> None:
    assert qt_libraries.platforms(environ) == plugins


@pytest.mark.gui
def test_a_plugin_whose_libraries_are_all_here_lacks_nothing() -> None:
    assert qt_libraries.missing({"QT_QPA_PLATFORM": "offscreen"}) == []
