"""Load scipy.signal beside the window: the start must not wait for it, nor must a frame."""

import threading
from functools import cache
from importlib import import_module


@cache
def _loading() -> threading.Thread:
    thread = threading.Thread(target=import_module, args=("scipy.signal",), name="scipy")
    thread.start()
    return thread


def is_loaded() -> bool:
    """Return True once scipy.signal is there; the first call begins to load it."""
    return not _loading().is_alive()
