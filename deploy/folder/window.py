"""The folder's program `neuroone-monitor`: the window, without a console."""

import sys
from contextlib import suppress

import platformdirs

from monitor_gui.__main__ import main

if sys.stderr is None:  # Windows gives none to a program without a console: its log goes to a file, of this run alone
    with suppress(OSError):
        file = platformdirs.user_log_path("NeuroOne", appauthor=False, ensure_exists=True) / "monitor.log"
        sys.stdout = sys.stderr = file.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)

sys.exit(main())
