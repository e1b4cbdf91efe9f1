"""Decide when to say what keeps the system from its work, when to say it again, and when that it is mended."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

SETTLED_S: Final = 3.0
"""What is over sooner is no news: a program that is started again needs about 2 s, a headset's first search 1 s."""
REPEAT_S: Final = 60.0
"""A problem is said again after a minute, then after 2, 4, 8, and every 10 minutes: eight times in a lesson of 50
minutes. Whoever comes back to the terminal finds it, and no other line is pushed off the screen."""
REPEAT_MAX_S: Final = 600.0
CHANGE_S: Final = 20.0
"""Between two sentences about one thing: a port that is tried at several speeds has another fault each second."""
KEYS_MAX: Final = 50
"""Problems that are remembered: a room of 40 headsets and all that can be wrong with the rest."""


@dataclass(slots=True)
class _Problem:
    text: str
    began_s: float
    ended_s: float | None = None
    said: str | None = None
    """The sentence that was said last."""
    said_s: float = float("-inf")
    wait_s: float = REPEAT_S
    is_open: bool = False
    """Whether it was said and not yet called mended."""


class Reminders:
    """Say each problem until it is mended. A problem that comes back within REPEAT_S keeps its turns."""

    def __init__(self) -> None:
        self._problems: dict[str, _Problem] = {}

    def step(self, problems: Mapping[str, str], now_s: float) -> Iterator[tuple[str, str]]:
        """Yield what to say now: ``hint`` or ``mended``, and the sentence. ``problems`` are those of this moment."""
        for key, text in problems.items():
            if key not in self._problems and len(self._problems) < KEYS_MAX:
                self._problems[key] = _Problem(text, now_s)
            if problem := self._problems.get(key):
                yield from self._on_problem(problem, text, now_s)
        for key in self._problems.keys() - problems.keys():
            yield from self._on_end(key, self._problems[key], now_s)

    @staticmethod
    def _on_problem(problem: _Problem, text: str, now_s: float) -> Iterator[tuple[str, str]]:
        if problem.ended_s is not None and now_s - problem.ended_s >= SETTLED_S:
            problem.began_s = now_s
        problem.ended_s = None
        problem.text = text
        if now_s - problem.began_s < SETTLED_S:
            return
        is_new = text != problem.said
        if is_new:
            problem.wait_s = REPEAT_S
        if now_s - problem.said_s >= (CHANGE_S if is_new else problem.wait_s):
            if not is_new:
                problem.wait_s = min(2 * problem.wait_s, REPEAT_MAX_S)
            problem.said, problem.said_s, problem.is_open = text, now_s, True
            yield "hint", text

    def _on_end(self, key: str, problem: _Problem, now_s: float) -> Iterator[tuple[str, str]]:
        if problem.ended_s is None:
            problem.ended_s = now_s
        if problem.is_open and now_s - problem.ended_s >= SETTLED_S:
            problem.is_open = False
            yield "mended", problem.said or problem.text
        if now_s - problem.ended_s >= REPEAT_S:
            del self._problems[key]
