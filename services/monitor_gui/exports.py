"""Save what is shown: pictures, and tables of the values behind the lines."""

import csv
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from PySide6.QtCore import QPoint, QSize
from PySide6.QtGui import QPainter
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QGraphicsItem, QGraphicsView, QWidget

from monitor_gui.feed import StreamId
from monitor_gui.history import COLUMNS, Floats, RawSpan
from monitor_gui.view import ESENSES, Signal, signal_of
from neuroone.contract.doubt import DOUBTS
from neuroone.contract.messages import BANDS

NOT_KEPT: Final = QGraphicsItem.CacheMode.NoCache

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """The shown values of one stream: rows of `COLUMNS`, and the raw samples if they are shown."""

    stream: StreamId
    rows: Floats
    raw: RawSpan | None


def save_picture(widget: QWidget, path: Path) -> bool:
    """Save a picture of the widget, of the kind that the suffix of the file names."""
    is_saved = _save_svg(widget, path) if path.suffix.lower() == ".svg" else widget.grab().save(str(path))
    if not is_saved:
        log.error("cannot write a picture to %s", path)
    return is_saved


def save_tables(shown: list[Shown], hidden: frozenset[str], path: Path) -> list[Path]:
    """Save readings to ``path`` and raw samples to ``NAME-raw.csv``; return the files. Raises OSError."""
    _write_csv(path, reading_rows(shown, hidden))
    if not any(each.raw is not None and len(each.raw.counts) for each in shown):
        return [path]
    raw_path = path.with_name(f"{path.stem}-raw{path.suffix}")
    _write_csv(raw_path, raw_rows(shown))
    return [path, raw_path]


def reading_rows(shown: Iterable[Shown], hidden: frozenset[str]) -> Iterator[list[str]]:
    """Yield header and rows with the values as sent; ``esense_valid`` is 1, 0, or empty for an unknown signal."""
    names = [name for name in (*ESENSES, *BANDS) if name not in hidden]
    yield ["stream", "time", "poor_signal", "esense_valid", *names, "doubt"]
    for each in shown:
        for row in each.rows:
            values = dict(zip(COLUMNS, row, strict=True))
            if np.isnan(values["attention"]):
                continue
            signal = signal_of(values["poor_signal"])
            valid = "" if signal is Signal.UNKNOWN else str(int(signal is Signal.GOOD))
            poor = "" if signal is Signal.UNKNOWN else str(int(values["poor_signal"]))
            sent = [str(int(values[name])) for name in names]
            doubt = DOUBTS[int(values["doubt"])] or ""
            yield [str(each.stream), _time(values["time_s"]), poor, valid, *sent, doubt]


def raw_rows(shown: Iterable[Shown]) -> Iterator[list[str]]:
    """Yield header and rows of the raw samples; a lost sample has no row."""
    yield ["stream", "time", "counts"]
    for each in shown:
        if each.raw is not None:
            for time_s, counts in zip(each.raw.time_s, each.raw.counts, strict=True):
                if not np.isnan(counts):
                    yield [str(each.stream), _time(time_s), str(int(counts))]


def _write_csv(path: Path, rows: Iterable[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _time(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _save_svg(widget: QWidget, path: Path) -> bool:
    drawing = QSvgGenerator()
    drawing.setFileName(str(path))
    drawing.setSize(QSize(widget.width(), widget.height()))
    drawing.setViewBox(widget.rect())
    drawing.setResolution(widget.logicalDpiX())
    painter = QPainter()
    if not painter.begin(drawing):
        return False
    views = widget.findChildren(QGraphicsView)
    kept = [item for view in views for item in view.items() if item.cacheMode() is not NOT_KEPT]
    modes = [item.cacheMode() for item in kept]
    for item in kept:  # what Qt keeps as a picture would be pixels here
        item.setCacheMode(NOT_KEPT)
    widget.render(painter, QPoint())
    for item, mode in zip(kept, modes, strict=True):
        item.setCacheMode(mode)
    return painter.end()
