"""Takes the pictures of the monitor: every page, in both languages and both themes.

    python3 run.py exec python docs/pictures/take.py

Starts a broker, two simulated headsets and a recorder; takes three minutes, most of it waiting for the plots to fill.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from neuroone.up import brokers

HERE = Path(__file__).parent
PAGES = {
    "monitor": (55, []),
    "compare": (55, ["--compare", "TURMA-1/bia"]),
    "signal": (65, ["--page", "signal"]),
    "class": (55, ["--page", "class"]),
    "full_screen": (8, ["--page", "full_screen"]),
    "contact": (8, ["--page", "contact"]),
    "connection": (6, ["--page", "connection"]),
    "shortcuts": (4, ["--page", "shortcuts"]),
}
"""Seconds to wait, and options, by the picture's name."""
ANA = ["--source", "ana", "--name", "Ana Souza", "--code", "TURMA-1", "--seed", "3"]
BIA = ["--source", "bia", "--name", "Bia Lima", "--code", "TURMA-1", "--seed", "11"]
CLASS = [
    ["--source", f"s{seed}", "--name", name, "--code", "TURMA-1", "--seed", str(seed)]
    for seed, name in enumerate(("Caio Reis", "Davi Nunes", "Íris Alves", "João Silva"), start=21)
]
"""Further students, for the class view."""


def main() -> None:
    """Start everything, take the pictures, end everything."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        broker = next(found for kind in brokers.KINDS if (found := brokers.find(kind)))
        url = f"mqtt://127.0.0.1:{port}"
        start(stack, broker.command(Path(folder, "broker"), "127.0.0.1", port), folder)
        while not brokers.answers("127.0.0.1", port):
            time.sleep(0.1)
        start(stack, [sys.executable, "-m", "csv_recorder", "--broker", url], folder)
        for headset in (ANA, BIA, *CLASS):
            bridge = [sys.executable, "-m", "serial_bridge", "run", "--port", "sim", "--broker", url, *headset]
            start(stack, bridge, folder)
        runs = (
            ["monitor"],
            ["compare"],
            ["signal"],
            ["class"],
            ["full_screen", "contact"],
            ["connection", "shortcuts"],
        )
        for looks in runs:
            pictures = [
                subprocess.Popen(monitor(url, *which)) for which in product(looks, ("en", "pt-BR"), ("light", "dark"))
            ]
            failed = sum(picture.wait() != 0 for picture in pictures)
            if failed:
                sys.exit(f"{failed} pictures of {looks} could not be taken")


def start(stack: contextlib.ExitStack, command: list[str], folder: str) -> None:
    """Start a program in that folder; it ends with the pictures."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)


def monitor(url: str, look: str, language: str, theme: str) -> list[str]:
    """Return the command that takes one picture."""
    after_s, options = PAGES[look]
    file = HERE / f"{look}-{language}-{theme}.png"
    words = ["--broker", url, "--stream", "TURMA-1/ana", "--language", language, "--theme", theme]
    return [sys.executable, "-m", "monitor_gui", *words, *options, "--screenshot", str(file), "--after", str(after_s)]


if __name__ == "__main__":
    main()
