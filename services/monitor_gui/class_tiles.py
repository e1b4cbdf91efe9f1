"""How a student's tile is drawn, and read aloud."""

from typing import Any, Final

from PySide6.QtCore import (
    QAbstractListModel,
    QLocale,
    QModelIndex,
    QPersistentModelIndex,
    QPointF,
    QRectF,
    QSize,
    Qt,
)
from PySide6.QtGui import QBrush, QColor, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from monitor_gui import texts, themes
from monitor_gui.classroom import CURVE_S, GAP_S, Point, Tile
from monitor_gui.contact_indicator import draw_shape
from monitor_gui.view import ESENSES, Signal
from neuroone.contract.messages import StreamStatus

Index = QModelIndex | QPersistentModelIndex
TILE: Final = Qt.ItemDataRole.UserRole
GAP_PX: Final = 3
PAD_PX: Final = 8
DOT_PX: Final = 16
LINES: Final = 5.5
"""Lines of text that a tile is high: name, numbers, curve, and what is wrong."""
FONT_PX: Final = (12, 19)
BETWEEN: Final = "  ·  "


def trouble_of(tile: Tile) -> str:
    """Return what is wrong with a student's values, in a few words; empty where nothing is."""
    if tile.status is not StreamStatus.ONLINE:
        words = texts.of_status(tile.status)
        if tile.age_s is None or tile.status is None:
            return words
        return f"{words}, {texts.of('class.age').format(QLocale().toString(tile.age_s))}"
    if tile.age_s is None:
        return texts.of("class.no_reading")
    if tile.is_loose:
        return texts.of(f"signal.{tile.signal}")
    is_doubtful = tile.doubt is not None and tile.doubt.touches_esense
    return tile.doubt.words(texts.language()).word if tile.doubt is not None and is_doubtful else ""


def foot_of(tile: Tile) -> list[str]:
    """Return what the foot of a tile says: that it is simulated, and what is wrong; nothing where nothing is."""
    simulated = texts.of("panel.simulated") if tile.is_simulated else ""
    return [words for words in (simulated, trouble_of(tile)) if words]


def name_of(tile: Tile) -> str:
    """Return the student's name, with the code where another one has the same."""
    if tile.name is None:
        return tile.source
    return f"{tile.name} ({tile.code or tile.source})" if tile.is_apart else tile.name


def number_of(value: int | None) -> str:
    """Return attention or meditation; dashes where it was not computed."""
    return "--" if value is None else str(value)


class TilesModel(QAbstractListModel):
    """The tiles as a list, for the view and for screen readers."""

    def __init__(self) -> None:
        super().__init__()
        self.tiles: list[Tile] = []

    def rowCount(self, parent: Index | None = None) -> int:  # noqa: D102 (Qt's name)
        return len(self.tiles)

    def data(self, index: Index, role: int = 0) -> Any:  # noqa: D102 (Qt's name)
        tile = self.tiles[index.row()]
        match role:
            case Qt.ItemDataRole.DisplayRole | Qt.ItemDataRole.AccessibleTextRole:
                numbers = (f"{texts.of(f'line.{each}')} {number_of(getattr(tile, each))}" for each in ESENSES)
                return ", ".join(each for each in (name_of(tile), *numbers, BETWEEN.join(foot_of(tile))) if each)
            case Qt.ItemDataRole.ToolTipRole:
                return None if tile.doubt is None else tile.doubt.words(texts.language()).sentence
        return tile if role == TILE else None

    def show_tiles(self, tiles: list[Tile]) -> bool:
        """Show these tiles; return True if they are other students, or in another order."""
        is_same = [(each.group, each.source) for each in tiles] == [(each.group, each.source) for each in self.tiles]
        if is_same:
            before, self.tiles = self.tiles, tiles
            for row, (old, new) in enumerate(zip(before, tiles, strict=True)):
                if old != new:
                    self.dataChanged.emit(self.index(row), self.index(row))
        else:
            self.beginResetModel()
            self.tiles = tiles
            self.endResetModel()
        return not is_same


class TileDelegate(QStyledItemDelegate):
    """Draw a tile: contact, name, attention (solid) and meditation (dashed), and what is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.size = QSize(1, 1)

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: D102 (Qt's name)
        return self.size

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:  # noqa: D102 (Qt's name)
        tile: Tile = index.data(TILE)
        box = QRectF(option.rect).adjusted(GAP_PX, GAP_PX, -GAP_PX, -GAP_PX)
        is_chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_ground(painter, box, tile, is_chosen)
        inside = box.adjusted(PAD_PX, PAD_PX / 2, -PAD_PX, -PAD_PX / 2)
        font = painter.font()
        line_px = inside.height() / LINES
        font.setPixelSize(int(min(FONT_PX[1], max(FONT_PX[0], line_px * 0.85))))
        row_px = font.pixelSize() * 1.3
        self._draw_name(painter, inside, tile, font, row_px)
        numbers = QRectF(inside.left(), inside.top() + row_px, inside.width(), row_px * 1.2)
        self._draw_numbers(painter, numbers, tile, font)
        painter.setFont(font)
        lines = _lines(painter, foot_of(tile), inside.width())
        curve = QRectF(inside)
        curve.setTop(numbers.bottom() + 2)
        curve.setBottom(inside.bottom() - row_px * len(lines))
        if curve.height() > PAD_PX:
            self._draw_curves(painter, curve, tile)
        painter.setPen(QColor(themes.colours()["adjusting"]))
        for place, words in enumerate(reversed(lines), start=1):
            _write(painter, QRectF(inside.left(), inside.bottom() - place * row_px, inside.width(), row_px), words)
        painter.restore()

    def _draw_ground(self, painter: QPainter, box: QRectF, tile: Tile, is_chosen: bool) -> None:
        colours = themes.colours()
        pen = QPen(QColor(colours["attention" if is_chosen else "faint"]), 2 if is_chosen else 1)
        if tile.status is not StreamStatus.ONLINE:
            pen.setStyle(Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.setBrush(QColor(colours["ground"]))
        painter.drawRoundedRect(box, 5, 5)
        if tile.status in (StreamStatus.OFFLINE, None):
            painter.fillRect(box.adjusted(2, 2, -2, -2), QBrush(QColor(colours["grid"]), Qt.BrushStyle.BDiagPattern))

    def _draw_name(self, painter: QPainter, inside: QRectF, tile: Tile, font: Any, row_px: float) -> None:
        is_here = tile.status is StreamStatus.ONLINE and tile.age_s is not None
        dot = QRectF(inside.left(), inside.top() + (row_px - DOT_PX) / 2, DOT_PX, DOT_PX).adjusted(2, 2, -2, -2)
        draw_shape(painter, dot, tile.signal if is_here else Signal.UNKNOWN)
        font.setBold(True)
        painter.setFont(font)
        font.setBold(False)
        painter.setPen(QColor(themes.colours()["ink"]))
        row = QRectF(inside.left(), inside.top(), inside.width(), row_px).adjusted(DOT_PX + 4, 0, 0, 0)
        _write(painter, row, name_of(tile))

    def _draw_numbers(self, painter: QPainter, row: QRectF, tile: Tile, font: Any) -> None:
        colours = themes.colours()
        for place, value in enumerate(ESENSES):
            half = QRectF(row.left() + place * row.width() / 2, row.top(), row.width() / 2, row.height())
            painter.setFont(font)
            painter.setPen(QColor(colours["faint"]))
            letter = texts.of(f"class.{value}")
            painter.drawText(half, Qt.AlignmentFlag.AlignVCenter, letter)
            left = painter.fontMetrics().horizontalAdvance(f"{letter} ")
            font.setBold(True)
            painter.setFont(font)
            font.setBold(False)
            painter.setPen(QColor(colours[value if tile.is_valid else "faint"]))
            number = number_of(getattr(tile, value))
            painter.drawText(half.adjusted(left, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, number)

    def _draw_curves(self, painter: QPainter, box: QRectF, tile: Tile) -> None:
        colours = themes.colours()
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(colours["grid"]), 1))
        painter.drawLine(QPointF(box.left(), box.center().y()), QPointF(box.right(), box.center().y()))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)  # it doubles the time of a tile
        for place, value in enumerate(ESENSES):
            style = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine)[place]
            painter.setPen(QPen(QColor(colours[value]), 1, style))
            painter.drawPath(curve_of(tile.points, place + 1, box))


def curve_of(points: tuple[Point, ...], column: int, box: QRectF) -> QPainterPath:
    """Return the last minute of a value as a line; it breaks where there was no valid value."""
    path, before_s = QPainterPath(), float("-inf")
    newest_s = points[-1].time_s if points else 0.0
    right, bottom = box.right(), box.bottom()
    second_px, unit_px = box.width() / CURVE_S, box.height() / 100
    for point in points:
        time_s, value = point.time_s, point[column]
        if value is None or newest_s - time_s > CURVE_S:
            before_s = float("-inf")
            continue
        draw = path.lineTo if time_s - before_s < GAP_S else path.moveTo
        draw(right - (newest_s - time_s) * second_px, bottom - value * unit_px)
        before_s = time_s
    return path


def _lines(painter: QPainter, parts: list[str], width_px: float) -> list[str]:
    """Return the parts as one line if it fits, else one below the other."""
    line = BETWEEN.join(parts)
    return [line] if line and painter.fontMetrics().horizontalAdvance(line) <= width_px else parts


def _write(painter: QPainter, box: QRectF, text: str) -> None:
    """Write one line of text, elided to its box."""
    elided = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(box.width()))
    painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, elided)
