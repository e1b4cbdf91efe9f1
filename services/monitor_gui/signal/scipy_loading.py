"""Load scipy.signal beside the window: the start must not wait for it, nor must a frame."""

import gc
import logging
import sys
import threading
from functools import cache
from importlib import import_module
from typing import Final

SCIPY: Final = "scipy.signal"

log = logging.getLogger(__name__)


@cache
def _loading() -> threading.Thread:
    thread = threading.Thread(target=_load, name="scipy")
    thread.start()
    return thread


def _load() -> None:
    try:
        import_module(SCIPY)
    except Exception:  # a damaged installation: the plots that need no filter go on
        log.exception("%s cannot be loaded: there are no filters and no spectra", SCIPY)
    gc.freeze()  # what is loaded stays: to look through it for garbage again and again costs a frame 60 ms each time


def is_loaded() -> bool:
    """Return True once scipy.signal is there; the first call begins to load it."""
    return not _loading().is_alive() and SCIPY in sys.modules
