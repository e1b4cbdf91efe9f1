"""Fixtures of all tests: real brokers, and the rule that a test leaves nothing running."""

import asyncio
import inspect
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio

from neuroone.up import brokers
from tests.support.brokers import Broker

LEAK_GRACE_S = 2.0
OPEN_FILES = Path("/proc/self/fd")
"""Linux lists here what a process has open."""
LEFT_OPEN_MAX = 200
"""A library may open some for good. From 1024 on, select() refuses what later tests of this process open."""

hypothesis.settings.register_profile("project", deadline=None)  # a slow example on a busy machine is not a fault
hypothesis.settings.load_profile("project")

for name in ("LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES"):  # tests speak English, whatever the developer speaks
    os.environ.pop(name, None)
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # windows without a screen
try:
    import PySide6.QtWidgets  # noqa: F401 (needs libraries of the system: libEGL, libGL)
except ImportError as error:
    qt_fault = f"Qt cannot be loaded here: {error}"
else:
    qt_fault = ""
    pytest_plugins = ["pytestqt.plugin"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of windows where Qt cannot be loaded."""
    if qt_fault and item.get_closest_marker("gui"):
        pytest.skip(qt_fault)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of the whole system: their files take longest, and the last one would run alone."""
    items.sort(key=lambda item: "system" not in item.path.parts)


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Give a function that starts a broker: its kind, and lines for its configuration. Stop them all after the test."""
    started: list[Broker] = []

    def start(kind: str, *lines: str) -> Broker:
        if kind == brokers.MOSQUITTO and brokers.find(kind) is None:
            pytest.skip("Mosquitto is not installed on this machine")
        folder = tmp_path / f"broker-{len(started)}"
        folder.mkdir()
        broker = Broker(kind, folder, *lines)
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        broker.stop()


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.broker) for kind in brokers.KINDS])
def broker(request: pytest.FixtureRequest, start_broker: Callable[[str], Broker]) -> Broker:
    """Start a broker; the test runs once with each kind."""
    return start_broker(request.param)


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Undo what the programs that a test calls do to the log: a later test would see more, or write into it.

    A fixture of a whole module may have called one before the test.
    """
    quieten()
    yield
    quieten()


def quieten() -> None:
    """Leave the log as pytest makes it."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    for handler in tuple(root.handlers):
        if not type(handler).__module__.startswith("_pytest."):
            root.removeHandler(handler)


@pytest.fixture(autouse=True)
def nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread which would keep its program alive, an asyncio task, or many open files."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("no_task_left_running")
    before, open_before = set(threading.enumerate()), open_files()
    yield
    left = [each for each in threading.enumerate() if each not in before and not each.daemon]
    for thread in left:
        thread.join(LEAK_GRACE_S)
    names = [thread.name for thread in left if thread.is_alive()]
    assert not names, f"the test left threads running: {names}"
    assert open_files() - open_before <= LEFT_OPEN_MAX, "the test left files open"


def open_files() -> int:
    """Return how many files and sockets this process has open; 0 where the system does not tell."""
    return sum(1 for _ in OPEN_FILES.iterdir()) if OPEN_FILES.is_dir() else 0


@pytest_asyncio.fixture
async def no_task_left_running() -> AsyncIterator[None]:
    """Fail a test that leaves an asyncio task."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, pending = await asyncio.wait(left, timeout=LEAK_GRACE_S)
        assert not pending, f"the test left tasks running: {pending}"
