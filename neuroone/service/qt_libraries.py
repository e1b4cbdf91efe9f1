"""Find the system's libraries that Qt needs for a window and that are not installed, and the packages that bring them.

Loads neither Qt nor the libraries: `ldd` names what is missing. Only Linux leaves these libraries to the system.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

LDD_TIMEOUT_S: Final = 10.0
"""It reads a dozen files; more time means a disk that does not answer."""
OS_RELEASE: Final = Path("/etc/os-release")
MODULES: Final = ("QtCore", "QtGui", "QtWidgets", "QtSvg")
"""Qt's modules that the monitor imports."""
INSTALL: Final[Mapping[str, str]] = {
    "debian": "sudo apt install",
    "fedora": "sudo dnf install",
    "arch": "sudo pacman -S",
    "suse": "sudo zypper install",
}
"""How a family of systems installs packages."""
PACKAGES: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "libEGL": ("libegl1", "libglvnd-egl", "libglvnd", "libglvnd"),
    "libGL": ("libgl1", "libglvnd-glx", "libglvnd", "libglvnd"),
    "libGLX": ("libglx0", "libglvnd-glx", "libglvnd", "libglvnd"),
    "libX11": ("libx11-6", "libX11", "libx11", "libX11-6"),
    "libX11-xcb": ("libx11-xcb1", "libX11-xcb", "libx11", "libX11-xcb1"),
    "libdbus-1": ("libdbus-1-3", "dbus-libs", "dbus", "libdbus-1-3"),
    "libfontconfig": ("libfontconfig1", "fontconfig", "fontconfig", "fontconfig"),
    "libfreetype": ("libfreetype6", "freetype", "freetype2", "libfreetype6"),
    "libglib-2.0": ("libglib2.0-0", "glib2", "glib2", "libglib-2_0-0"),
    "libgthread-2.0": ("libglib2.0-0", "glib2", "glib2", "libgthread-2_0-0"),
    "libwayland-client": ("libwayland-client0", "libwayland-client", "wayland", "libwayland-client0"),
    "libwayland-cursor": ("libwayland-cursor0", "libwayland-cursor", "wayland", "libwayland-cursor0"),
    "libwayland-egl": ("libwayland-egl1", "libwayland-egl", "wayland", "libwayland-egl1"),
    "libxcb": ("libxcb1", "libxcb", "libxcb", "libxcb1"),
    "libxcb-cursor": ("libxcb-cursor0", "xcb-util-cursor", "xcb-util-cursor", "libxcb-cursor0"),
    "libxcb-icccm": ("libxcb-icccm4", "xcb-util-wm", "xcb-util-wm", "libxcb-icccm4"),
    "libxcb-image": ("libxcb-image0", "xcb-util-image", "xcb-util-image", "libxcb-image0"),
    "libxcb-keysyms": ("libxcb-keysyms1", "xcb-util-keysyms", "xcb-util-keysyms", "libxcb-keysyms1"),
    "libxcb-randr": ("libxcb-randr0", "libxcb", "libxcb", "libxcb-randr0"),
    "libxcb-render": ("libxcb-render0", "libxcb", "libxcb", "libxcb-render0"),
    "libxcb-render-util": (
        "libxcb-render-util0",
        "xcb-util-renderutil",
        "xcb-util-renderutil",
        "libxcb-render-util0",
    ),
    "libxcb-shape": ("libxcb-shape0", "libxcb", "libxcb", "libxcb-shape0"),
    "libxcb-shm": ("libxcb-shm0", "libxcb", "libxcb", "libxcb-shm0"),
    "libxcb-sync": ("libxcb-sync1", "libxcb", "libxcb", "libxcb-sync1"),
    "libxcb-util": ("libxcb-util1", "xcb-util", "xcb-util", "libxcb-util1"),
    "libxcb-xfixes": ("libxcb-xfixes0", "libxcb", "libxcb", "libxcb-xfixes0"),
    "libxcb-xkb": ("libxcb-xkb1", "libxcb", "libxcb", "libxcb-xkb1"),
    "libxkbcommon": ("libxkbcommon0", "libxkbcommon", "libxkbcommon", "libxkbcommon0"),
    "libxkbcommon-x11": ("libxkbcommon-x11-0", "libxkbcommon-x11", "libxkbcommon-x11", "libxkbcommon-x11-0"),
    "libz": ("zlib1g", "zlib-ng-compat", "zlib", "libz1"),
}
"""What brings each library that Qt does not bring itself, in the order of `INSTALL`."""


def missing(environ: Mapping[str, str]) -> list[str] | None:
    """Return the libraries that a window of this environment lacks; None if PySide6 is not installed."""
    found = find_spec("PySide6")
    if found is None or found.origin is None:
        return None
    if not sys.platform.startswith("linux"):
        return []
    folder = Path(found.origin).parent
    modules = [file for name in MODULES for file in folder.glob(f"{name}.*.so")]
    for platform in platforms(environ):
        plugin = folder / "Qt" / "plugins" / "platforms" / f"libq{platform}.so"
        lacks = _not_found([*modules, plugin] if plugin.exists() else modules)
        if not lacks:
            break
    return lacks


def platforms(environ: Mapping[str, str]) -> list[str]:
    """Return the plugins that Qt tries in this environment, in its order."""
    wanted = [each.partition(":")[0] for each in environ.get("QT_QPA_PLATFORM", "").split(";") if each]
    if not wanted:
        wanted = ["wayland", "xcb"] if environ.get("WAYLAND_DISPLAY") else ["xcb"]
    return ["wayland" if each.startswith("wayland") else each for each in wanted]


def has_screen(environ: Mapping[str, str]) -> bool:
    """Return True if programs of this environment can open windows."""
    return not sys.platform.startswith("linux") or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def install_command(libraries: Collection[str], os_release: Path = OS_RELEASE) -> str:
    """Return the command of this system that installs the libraries; the libraries alone for an unknown system."""
    family = _family(os_release)
    names = [each.partition(".so")[0] for each in libraries]
    if family is None or not PACKAGES.keys() >= set(names):
        return ", ".join(libraries)
    at = list(INSTALL).index(family)
    return " ".join([INSTALL[family], *sorted({PACKAGES[name][at] for name in names})])


def _family(os_release: Path) -> str | None:
    """Return the key of `INSTALL` for this system."""
    try:
        words = shlex.split(os_release.read_text(encoding="utf-8", errors="replace"), comments=True)
    except (OSError, ValueError):
        return None
    fields = dict(word.partition("=")[::2] for word in words)
    kinds = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".split()
    return next((family for kind in kinds for family in INSTALL if kind.startswith(family)), None)


def _not_found(files: list[Path]) -> list[str]:
    ldd = shutil.which("ldd")
    if ldd is None:
        return []
    try:
        done = subprocess.run([ldd, *files], capture_output=True, timeout=LDD_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return sorted(set(re.findall(r"(\S+) => not found", done.stdout.decode("utf-8", "replace"))))
