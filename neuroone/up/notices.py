"""Show what runs and what is wrong below the banner: at the start, when it changes, and until it is mended."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from neuroone.contract import hints
from neuroone.service.wearers import AUTO
from neuroone.up.banner import Row, State, table, texts
from neuroone.up.children import Child
from neuroone.up.console import Console
from neuroone.up.observed import RECORDER, WINDOW, Observed
from neuroone.up.reminders import SETTLED_S, Reminders
from neuroone.up.view import BROKER, View

PERIOD_S: Final = 1.0
TABLE_PERIOD_S: Final = 30.0
"""Between two tables: a program that dies again and again changes its state every few seconds."""
FREE_LOW_BYTES: Final = 10**9
"""A class of 30 writes about 40 MB in a school day; the inbox, an export and the log need room too."""


class Notices:
    """Tell people about the system.

    Args:
        children: Its programs by name; None is one that another starts, or that is not started.
        observed: What the broker says of them.
        look: Returns the rest, when it is needed.
        console: Where people read it.
        language: Of the people.
    """

    def __init__(
        self,
        children: Mapping[str, Child | None],
        observed: Observed,
        look: Callable[[], View],
        console: Console,
        language: str,
    ) -> None:
        self._observed = observed
        self._look = look
        self._console = console
        self._children = children
        self._language = language
        self._texts = texts(language)
        self._reminders = Reminders()
        self._due_s = float("-inf")
        self._rows: list[Row] = []
        self._changed_s = float("-inf")
        self._shown: list[Row] = []
        self._shown_s = float("-inf")

    def step(self, now_s: float) -> None:
        """Show what is due; call it often. ``now_s`` is the steady clock's time."""
        if now_s < self._due_s:
            return
        self._due_s = now_s + PERIOD_S
        view = self._look()
        rows = [Row(name, self._state(name, view), view.addresses.get(name, "")) for name in self._children]
        if rows != self._rows:
            self._changed_s = now_s if self._rows else float("-inf")
            self._rows = rows
        if rows != self._shown and now_s - self._changed_s >= SETTLED_S and now_s - self._shown_s >= TABLE_PERIOD_S:
            self._shown, self._shown_s = rows, now_s
            self._console.show(["", *table(rows, self._language), ""])
        for kind, text in self._reminders.step({**dict(self._problems()), **view.problems}, now_s):
            # Some of it comes from the broker: nothing in it may steer a terminal.
            plain = "".join(each if each.isprintable() else "?" for each in text)
            what = plain if kind == "hint" else f'"{re.split("[:.] ", plain)[0].rstrip(".")}"'
            self._console.say(f"{self._texts[kind]}: {what}")

    def _state(self, name: str, view: View) -> State:
        child = self._children[name]
        if name in view.problems:
            return State.FAULTY
        if child is not None and child.has_ended:
            return State.ENDED
        if child is not None and not child.is_running:
            return State.STARTING
        if name in (BROKER, WINDOW):  # a window may be connected to another broker
            return State.RUNNING
        online = self._observed.online(name)
        if not online:
            return State.STARTING
        return State.FAULTY if any(state.fault for state in online) else State.RUNNING

    def _problems(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with services, headsets and the disk, each with its key."""
        say, language = self._texts, self._language
        for row in self._rows:
            if row.state is State.STARTING:
                yield row.service, say[row.service]
            for service in self._observed.online(row.service):
                if service.fault:
                    yield row.service, say["fault"].format(service=row.service, fault=service.fault)
        for stream, state in self._observed.headsets.items():
            hint, source = hints.of_state(state, language) or "", stream.partition("/")[2]
            # By its id: what is written here may end in a log, which holds no names of people.
            is_named = source == AUTO or (state.device or "") in hint
            yield f"headset {stream}", hint if is_named else f"{source} - {hint}"
        free_bytes = self._observed.free_bytes
        if free_bytes is not None and free_bytes < FREE_LOW_BYTES and self._observed.online(RECORDER):
            yield "disk", say["disk"]
