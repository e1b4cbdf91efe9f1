"""Divides a large report into classes: a page for each, or a few pages if there are very many sessions."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

from csv_recorder.offline.report.figures import ALL, OF_CLASSES, Report, of_classes
from csv_recorder.offline.report.texts import Words
from neuroone.contract.topics import ALL as EVERYBODY
from neuroone.contract.topics import NO_GROUP, id_from_text, with_hash

INDEX_FILE: Final = "index.html"
"""The report's file in a directory."""
SESSIONS_MAX: Final = 1000
"""Sessions on one page: 2 to 5 MB, which a phone still shows. More have an index and several pages."""
FILE: Final = re.compile(r"page-[a-z0-9_-]+-[0-9a-f]{6}(-[0-9]+)?\.html\Z")
"""The files of pages; older ones in their folder are removed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One page: some of a class's students. The ``title`` is empty for students without a class."""

    title: str
    number: int
    count: int
    report: Report

    @property
    def file(self) -> str:
        """Return the name of the page's file, which stays the same from report to report."""
        name = with_hash(id_from_text(self.title or "-").lower(), self.title)
        return f"page-{name}{f'-{self.number}' if self.number > 1 else ''}.html"

    def heading(self, words: Words) -> str:
        """Return what people call the page."""
        title = self.title or words("no_class")
        return title if self.count == 1 else f"{title} ({words('page')} {self.number}/{self.count})"


def titles(sessions: pd.DataFrame) -> "pd.Series[str]":
    """Name the class of each presence: its group if several students share it, else the lesson that it had, or "".

    The production app makes a new code at each start, so that a group may be a single student's.
    """
    students = sessions.groupby("group")["student"].transform("nunique")
    is_shared = (students > 1) & ~sessions["group"].isin(["", NO_GROUP]) & (sessions["lesson_group"] != EVERYBODY)
    return sessions["group"].where(is_shared, sessions["class"])


def by_title(report: Report) -> pd.DataFrame:
    """Return the figures of each class over all of its days."""
    columns = [*OF_CLASSES, "group", "class", "lesson_group"]
    sessions = report.sessions.loc[report.sessions["session"] != ALL, columns]
    return of_classes(sessions.assign(title=titles(sessions)), ["title"])


def parts(report: Report) -> Iterator[Part]:
    """Divide a report into pages, those of students without a class last; no student is on two pages of one class."""
    of_all = report.sessions["session"] == ALL
    sessions = report.sessions.loc[~of_all, ["group", "class", "lesson_group", "student"]]
    sessions = sessions.assign(title=titles(sessions))
    shared = {number for number, row in zip(report.classes.index, report.classes["students"], strict=True) if row > 1}
    class_titles = {number: sessions["title"][report.members[number][0]] for number in shared}
    of_students = report.sessions.loc[of_all, "student"]
    together = {str(student): int(number) for number, student in zip(of_students.index, of_students, strict=True)}
    for title, of_title in sorted(sessions.groupby("title"), key=lambda each: (not each[0], each[0])):
        classes = report.classes.loc[sorted(number for number in shared if class_titles[number] == title)]
        found = list(_pages(of_title, together))
        for number, rows in enumerate(found, 1):
            of_page = report.sessions.loc[sorted(rows)]
            page = replace(report, sessions=of_page, classes=classes if number == 1 else classes.iloc[:0], faults=())
            yield Part(str(title), number, len(found), page)


def _pages(sessions: pd.DataFrame, together: Mapping[str, int]) -> Iterator[list[int]]:
    """Yield the row numbers of each page: whole students, with the row of all their sessions."""
    rows: list[int] = []
    count = 0
    for student, of_student in sessions.groupby("student", sort=False):
        if rows and count + len(of_student) > SESSIONS_MAX:
            yield rows
            rows, count = [], 0
        rows += [*map(int, of_student.index), *([together[str(student)]] if student in together else [])]
        count += len(of_student)
    yield rows
