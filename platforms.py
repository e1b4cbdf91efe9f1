"""Check that every set of packages can be installed on every kind of machine that NeuroOne is for.

``python3 run.py check`` runs it. It lets uv resolve each set of requirements.lock for systems and Pythons that are not
here, from wheels alone, and downloads none of them. What cannot be installed somewhere is in GAPS, with its reason;
docs/decisions/0032 says what users see there. Without a registry it checks what uv knows from before.
"""

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Final

import run
from run import EXTRAS, FOLDER, WINDOW

GLIBC: Final = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_31")
MUSL: Final = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")
WINDOWS: Final = ("x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc")
MACOS: Final = ("x86_64-apple-darwin", "aarch64-apple-darwin")
PLATFORMS: Final = (*GLIBC, *MUSL, *WINDOWS, *MACOS)
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
WITH_QT: Final = (WINDOW, FOLDER)
GAPS: Final = {
    (WITH_QT, MUSL, PYTHONS): "Qt has no wheels for musl",
    (WITH_QT, GLIBC[:1], PYTHONS): "Qt's wheels need glibc 2.34 on x86-64: Debian 12, Ubuntu 22.04, RHEL 9",
    (
        WITH_QT,
        GLIBC[1:],
        PYTHONS[3:],
    ): "on arm64 with Python 3.14, Qt's wheels need glibc 2.39: Debian 13, Ubuntu 24.04",
}
"""Sets that cannot be installed on some platforms with some Pythons, and why."""
AT_ONCE: Final = 4
"""Runs of uv side by side: they wait for the disk and for the registry."""
TIMEOUT_S: Final = 120.0
"""A run of uv takes a few seconds, and longer only while it waits for the registry."""


def main() -> int:
    """Resolve every set for every kind of machine; return 1 if one is not as GAPS says."""
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in run.locked_sets().items():
            Path(folder, name).write_text(lines, encoding="utf-8")
        Path(folder, "one").write_text(run.locked("msgspec"), encoding="utf-8")
        reach = () if resolve(folder, ["one"], "--no-cache") is None else ("--offline",)
        machines = list(product(PLATFORMS, PYTHONS))
        with ThreadPoolExecutor(AT_ONCE) as threads:
            found = [*threads.map(lambda machine: faults(folder, *machine, *reach), machines)]
    if any(found) and reach:
        checked = found.count([])
        print(f"skipped: the registry cannot be reached; {checked} of {len(machines)} kinds of machines were checked")
        return 0
    print(*(fault for each in found for fault in each), sep="\n", end="\n" if any(found) else "")
    return 1 if any(found) else 0


def faults(folder: str, platform: str, python: str, *reach: str) -> list[str]:
    """Return what is not as GAPS says on a kind of machine."""
    on = ("--python-platform", platform, "--python-version", python, *reach)
    gaps = {
        name: why
        for (names, platforms, pythons), why in GAPS.items()
        for name in names
        if platform in platforms and python in pythons
    }
    others = [name for name in EXTRAS if name not in gaps]
    found = {name: resolve(folder, [name], *on) for name in gaps if python == PYTHONS[-1]}
    if resolve(folder, others, *on) is not None:  # one run for all, and one for each only to name the one
        found |= {name: resolve(folder, [name], *on) for name in others}
    return [
        f"{name} on {platform} with Python {python}: {fault or f'can be installed, take it out of GAPS ({gaps[name]})'}"
        for name, fault in found.items()
        if (fault is None) == (name in gaps)
    ]


def resolve(folder: str, names: list[str], *words: str) -> str | None:
    """Return why uv cannot install the lines of these files from wheels; None if it can."""
    command = [*run.uv("pip", "install"), "--dry-run", "--quiet", "--only-binary", ":all:", "--require-hashes"]
    try:
        done = subprocess.run(
            [
                *command,
                "--target",
                Path(folder, "none"),
                *(f"--requirements={Path(folder, each)}" for each in names),
                *words,
            ],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:  # a registry that takes connections and sends nothing is one that is away
        return f"uv did not answer within {TIMEOUT_S:.0f} s"
    return None if done.returncode == 0 else " ".join(done.stderr.split())


if __name__ == "__main__":
    sys.exit(main())
