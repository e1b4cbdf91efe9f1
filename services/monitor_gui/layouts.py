"""A layout, a label and a scroll area that let the window become small."""

from typing import Final

from PySide6.QtCore import QEvent, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QLayout, QLayoutItem, QScrollArea, QWidget

TITLE_PX: Final = 32
FRAME_PX: Final = 8
"""Title bar and frame that the desktop adds; Qt does not know them before the window is shown."""
LEFT_MIN_PX: Final = 24
"""What is left of an elided text in the smallest window: a letter and the dots."""


class FlowLayout(QLayout):
    """Place the widgets beside each other, and begin another row where the width is used up.

    Rows have half the spacing between them: in a low window they would take the room of the plots.
    """

    def __init__(self, spacing_px: int) -> None:
        super().__init__()
        self._items: list[QLayoutItem] = []
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(spacing_px)

    def addItem(self, item: QLayoutItem) -> None:  # noqa: D102 (Qt's name)
        self._items.append(item)

    def count(self) -> int:  # noqa: D102 (Qt's name)
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:  # noqa: D102 (Qt's name)
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:  # noqa: D102 (Qt's name)
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:  # noqa: D102 (Qt's name)
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:  # noqa: D102 (Qt's name)
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: D102 (Qt's name)
        return self._arrange(QRect(0, 0, width, 0), is_moving=False)

    def sizeHint(self) -> QSize:  # noqa: D102 (Qt's name)
        return self.minimumSize()

    def minimumSize(self) -> QSize:  # noqa: D102 (Qt's name)
        size = QSize()
        for item in self._items:
            size = size.expandedTo(item.minimumSize())
        return size

    def setGeometry(self, rect: QRect) -> None:  # noqa: D102 (Qt's name)
        super().setGeometry(rect)
        self._arrange(rect, is_moving=True)

    def _arrange(self, rect: QRect, *, is_moving: bool) -> int:
        """Place the visible widgets in a rectangle if they are to move; return the height that they take."""
        y_px = 0
        for row in self._rows(rect.width()):
            x_px, row_px = 0, max(size.height() for _, size in row)
            for item, size in row:
                if is_moving:
                    middle = QPoint(x_px, y_px + (row_px - size.height()) // 2)
                    item.setGeometry(QRect(rect.topLeft() + middle, size))
                x_px += size.width() + self.spacing()
            y_px += row_px + self.spacing() // 2
        return max(0, y_px - self.spacing() // 2)

    def _rows(self, width_px: int) -> list[list[tuple[QLayoutItem, QSize]]]:
        rows: list[list[tuple[QLayoutItem, QSize]]] = []
        left_px = 0
        for item in self._items:
            if item.isEmpty():
                continue
            size = item.sizeHint().boundedTo(QSize(width_px, item.sizeHint().height()))
            if not rows or size.width() > left_px:
                rows.append([])
                left_px = width_px
            rows[-1].append((item, size))
            left_px -= size.width() + self.spacing()
        return rows


class ElidedLabel(QLabel):
    """A line of text that ends in dots where there is no room for all of it; the whole text is its tooltip."""

    def minimumSizeHint(self) -> QSize:  # noqa: D102 (Qt's name)
        return QSize(LEFT_MIN_PX, super().minimumSizeHint().height())

    def setText(self, text: str) -> None:  # noqa: D102 (Qt's name)
        super().setText(text)
        self.setToolTip(text)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102 (Qt's name)
        painter = QPainter(self)
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter | self.alignment(), text)
        painter.end()


class Steady(QWidget):
    """Hold a widget, and have the window laid out anew only when that needs another size.

    Qt lays out the whole window after each new text of a label: several times a second, that takes most of a frame.
    """

    def __init__(self, held: QWidget) -> None:
        super().__init__()
        self._held = held
        self._needs: tuple[QSize, int] | None = None
        held.setParent(self)
        self.setSizePolicy(held.sizePolicy())

    def hasHeightForWidth(self) -> bool:  # noqa: D102 (Qt's name)
        return self._held.hasHeightForWidth()

    def heightForWidth(self, width: int) -> int:  # noqa: D102 (Qt's name)
        return self._held.heightForWidth(width)

    def sizeHint(self) -> QSize:  # noqa: D102 (Qt's name)
        return self._held.sizeHint()

    def minimumSizeHint(self) -> QSize:  # noqa: D102 (Qt's name)
        return self._held.minimumSizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102 (Qt's name)
        super().resizeEvent(event)
        self._held.resize(self.size())

    def event(self, event: QEvent) -> bool:  # noqa: D102 (Qt's name)
        asks = event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Show)  # while hidden it gets no requests
        if asks and self._needs != (needs := self._size_needed()):
            self._needs = needs
            self.updateGeometry()
        return super().event(event)

    def _size_needed(self) -> tuple[QSize, int]:
        width = QSize() if self.hasHeightForWidth() else self._held.sizeHint()
        return width, self._held.heightForWidth(self.width())


class ScrolledColumn(QScrollArea):
    """A column of widgets that is scrolled where the window is too low for it."""

    def __init__(self, column: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self._column = column
        self.setWidget(column)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the focus moves through the widgets in it

    def minimumSizeHint(self) -> QSize:  # noqa: D102 (Qt's name)
        width_px = self._column.minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width()
        return QSize(width_px, super().minimumSizeHint().height())


def fit_screen(window: QWidget) -> None:
    """Move and shrink a window into the free part of its screen: its size is of another screen or scale."""
    free, frame = window.screen().availableGeometry(), QSize(FRAME_PX, TITLE_PX + FRAME_PX)
    window.resize(window.size().boundedTo(free.size() - frame))
    place = window.frameGeometry()
    place.moveRight(min(place.right(), free.right()))
    place.moveBottom(min(place.bottom(), free.bottom()))
    place.moveLeft(max(place.left(), free.left()))
    place.moveTop(max(place.top(), free.top()))
    window.move(place.topLeft())
