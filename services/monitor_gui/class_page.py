"""The class view: a tile for each student, with search, and the one who needs help first."""

from datetime import datetime
from typing import Final

from PySide6.QtCore import QModelIndex, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QLabel, QLineEdit, QListView, QVBoxLayout, QWidget

from monitor_gui import texts
from monitor_gui.class_tiles import TileDelegate, TilesModel
from monitor_gui.classroom import Tile, arranged, tile_size
from monitor_gui.feed import StreamId
from monitor_gui.layouts import FlowLayout
from monitor_gui.texts import translated
from neuroone.contract.messages import StreamStatus

CONTROLS_SPACING_PX: Final = 10
SEARCH_PX: Final = 200
SLACK_PX: Final = 6
"""Qt begins another row a few pixels before the width is used up."""


class TilesView(QListView):
    """Tiles of one size, as many beside each other as fit; the size follows that of the view."""

    def __init__(self, model: TilesModel) -> None:
        super().__init__()
        self.tiles, self.delegate = model, TileDelegate()
        self.setModel(model)
        self.setItemDelegate(self.delegate)
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)

    def fit(self) -> None:
        """Give the tiles the largest size with which all are in view."""
        bar_px, frame_px = self.verticalScrollBar().sizeHint().width(), 2 * self.frameWidth()
        width_px, height_px = self.width() - bar_px - frame_px - SLACK_PX, self.height() - frame_px
        size = QSize(*tile_size(max(1, len(self.tiles.tiles)), width_px, height_px))
        if size != self.delegate.size:
            self.delegate.size = size
            self.setGridSize(size)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102 (Qt's name)
        super().resizeEvent(event)
        self.fit()


class ClassPage(QWidget):
    """The tiles of a class or of everybody. A click, or Enter, shows a student's plots."""

    chosen = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self.groups = translated(QComboBox(), accessibleName="class.choose")
        self.search = translated(
            QLineEdit(clearButtonEnabled=True), placeholderText="class.search", accessibleName="class.search"
        )
        self.search.setMinimumWidth(SEARCH_PX)
        self.help_first = translated(QCheckBox(), text="class.help_first")
        self.state = QLabel(textFormat=Qt.TextFormat.PlainText)
        self.model = TilesModel()
        self.view = translated(TilesView(self.model), accessibleName="class.title")
        self._tiles: list[Tile] = []
        self._is_paused = False
        self.groups.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        controls = FlowLayout(CONTROLS_SPACING_PX)
        for widget in (self.groups, self.search, self.help_first, self.state):
            controls.addWidget(widget)
        column = QVBoxLayout(self)
        column.addLayout(controls)
        column.addWidget(self.view, 1)
        self.groups.currentIndexChanged.connect(self._arrange)
        self.search.textChanged.connect(self._arrange)
        self.help_first.toggled.connect(self._arrange)
        self.view.activated.connect(self._choose)
        self.setFocusProxy(self.view)

    def show_tiles(self, tiles: list[Tile], *, is_connected: bool) -> None:
        """Show these students, unless the view is paused."""
        if self._is_paused:
            return
        self._tiles = tiles
        self._list_groups()
        shown = self._arrange()
        here = sum(each.status is StreamStatus.ONLINE for each in shown)
        well = sum(each.has_contact for each in shown)
        if not is_connected:
            self.state.setText(texts.of("plots.not_connected"))
        else:
            self.state.setText(texts.of("class.counts").format(here, well) if tiles else texts.of("streams.none"))

    def pause(self, tiles: list[Tile] | None, moment: datetime) -> None:
        """Hold the tiles of this moment, or let them run for None."""
        self._is_paused = False
        if tiles is not None:
            self.show_tiles(tiles, is_connected=True)
            self._is_paused = True
            self.state.setText(texts.of("class.paused").format(moment.strftime("%H:%M:%S")))

    def _list_groups(self) -> None:
        groups = {each.group: each.code or each.group for each in self._tiles}
        entries = sorted((code, group) for group, code in groups.items())
        wanted: list[tuple[str, str | None]] = [(texts.of("class.everybody"), None), *entries]
        if wanted == [(self.groups.itemText(n), self.groups.itemData(n)) for n in range(self.groups.count())]:
            return
        if self.groups.view().isVisible():
            return
        group = self.groups.currentData()
        with QSignalBlocker(self.groups):
            self.groups.clear()
            for text, data in wanted:
                self.groups.addItem(text, data)
            self.groups.setCurrentIndex(max(0, self.groups.findData(group)))

    def _arrange(self) -> list[Tile]:
        current = self.view.currentIndex()
        before = self.model.tiles[current.row()] if current.isValid() else None
        group, search = self.groups.currentData(), self.search.text()
        shown = arranged(self._tiles, group, search, help_first=self.help_first.isChecked())
        if self.model.show_tiles(shown):
            self.view.fit()
            for row, tile in enumerate(shown):
                if before is not None and (tile.group, tile.source) == (before.group, before.source):
                    self.view.setCurrentIndex(self.model.index(row))
        return shown

    def _choose(self, index: QModelIndex) -> None:
        tile = self.model.tiles[index.row()]
        self.chosen.emit([StreamId(tile.group, tile.source)])
