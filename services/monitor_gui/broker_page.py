"""The connection page: the broker, the streams on it, and a headset on this computer."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from PySide6.QtCore import QItemSelectionModel, QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from monitor_gui import texts
from monitor_gui.feed import StreamId
from monitor_gui.layouts import FlowLayout, ScrolledColumn
from monitor_gui.local_bridge import LocalBridge
from monitor_gui.local_system import LocalSystem
from monitor_gui.settings import DEFAULT_SITE
from monitor_gui.system_box import SystemBox
from monitor_gui.texts import translated
from neuroone.contract.files import search_key
from neuroone.contract.messages import DEMO, StreamState, StreamStatus
from neuroone.mqtt.address import BrokerAddress
from neuroone.service.settings import topic_id

PLAIN: Final = Qt.TextFormat.PlainText
SIMULATOR: Final = "sim"
ANY_BLE: Final = "ble"
"""Any headset over Bluetooth LE; those in reach are listed by their addresses."""
COLUMNS: Final = ("name", "stream", "link", "status")
COMPARED_MAX: Final = 2
"""Streams beside each other; more are too narrow to read."""

PORT_MIN_CHARS: Final = 12
BUTTONS_SPACING_PX: Final = 6


class BrokerPage(QWidget):
    """The four boxes of the page."""

    def __init__(self, bridge: LocalBridge, system: LocalSystem) -> None:
        super().__init__()
        self.broker, self.streams, self.headset = BrokerBox(), StreamsBox(), HeadsetBox(bridge)
        self.system = SystemBox(system)
        boxes = QWidget()
        left = QVBoxLayout(boxes)
        left.setContentsMargins(0, 0, 0, 0)
        left.addWidget(self.broker)
        left.addWidget(self.headset)
        left.addWidget(self.system)
        left.addStretch(1)
        both = QHBoxLayout(self)
        both.addWidget(ScrolledColumn(boxes), 2)
        both.addWidget(self.streams, 3)


class BrokerBox(QGroupBox):
    """Address and login of the broker, its certificate authority, and the site."""

    chosen = Signal(object, str, object)
    """Address, site, and the file with the certificate authority or None."""

    def __init__(self) -> None:
        super().__init__()
        translated(self, title="broker.title")
        self.address, self.user, self.password = QLineEdit(), QLineEdit(), QLineEdit()
        self.site = translated(QLineEdit(), toolTip="broker.site_means")
        self.ca_file = translated(QLineEdit(), placeholderText="broker.ca_placeholder", toolTip="broker.ca_means")
        self.ca_button = translated(QPushButton(), text="broker.choose_ca")
        self.address.setPlaceholderText("mqtt://127.0.0.1:1883")
        self.connect_button = translated(QPushButton(), text="broker.connect")
        self.state = QLabel(wordWrap=True, textFormat=PLAIN)
        self._has_fault = False
        self.password.setEchoMode(QLineEdit.EchoMode.Password)
        form = QFormLayout(self)
        _add_row(form, "broker.address", self.address)
        _add_row(form, "broker.user", self.user)
        _add_row(form, "broker.password", self.password)
        _add_row(form, "broker.ca", self.ca_file)
        form.addRow("", self.ca_button)
        _add_row(form, "broker.site", self.site)
        form.addRow(self.connect_button)
        form.addRow(self.state)
        self.connect_button.clicked.connect(self._choose)
        self.ca_button.clicked.connect(self._choose_ca)
        for edit in (self.address, self.user, self.password, self.ca_file, self.site):
            edit.returnPressed.connect(self._choose)

    def show_address(self, broker: BrokerAddress, site: str, ca_file: Path | None) -> None:
        """Fill in the broker's address and login, the site and the certificate authority."""
        self.address.setText(str(broker))
        self.user.setText(broker.user or "")
        self.password.setText(broker.password or "")
        self.site.setText(site)
        self.ca_file.setText("" if ca_file is None else str(ca_file))

    def show_connection(self, text: str) -> None:
        """Show the state of the connection, unless a wrong address or site is being corrected."""
        if not self._has_fault:
            self.state.setText(text)

    def _choose(self) -> None:
        text = self.address.text().strip() or self.address.placeholderText()
        fault = "broker.wrong_address"
        try:
            address = BrokerAddress.parse(text if "://" in text else f"mqtt://{text}")
            fault = "broker.wrong_site"
            site = topic_id(self.site.text().strip() or DEFAULT_SITE)
        except ValueError:
            self._has_fault = True
            self.state.setText(texts.of(fault))
            return
        self._has_fault = False
        user, password = self.user.text() or address.user, self.password.text() or address.password
        ca_file = Path(path) if (path := self.ca_file.text().strip()) else None
        self.chosen.emit(replace(address, user=user, password=password), site, ca_file)

    def _choose_ca(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, texts.of("broker.choose_ca_file"))
        if file:
            self.ca_file.setText(file)


class StreamsBox(QGroupBox):
    """The streams on the broker, to show one or compare two."""

    chosen = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        translated(self, title="streams.title")
        self.table = translated(QTableWidget(0, len(COLUMNS)), accessibleName="streams.title")
        self.search = translated(
            QLineEdit(clearButtonEnabled=True), placeholderText="streams.search", accessibleName="streams.search"
        )
        self.show_button = translated(QPushButton(), text="streams.show")
        self.state = QLabel(wordWrap=True, textFormat=PLAIN)
        self._listed: list[StreamId] = []
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        column = QVBoxLayout(self)
        column.addWidget(self.search)
        column.addWidget(self.table, 1)
        column.addWidget(self.state)
        column.addWidget(self.show_button)
        self.show_button.clicked.connect(self._choose)
        self.search.textChanged.connect(self._hide_others)
        self.table.doubleClicked.connect(self._choose)
        self.table.itemSelectionChanged.connect(self._enable_button)
        self.show_streams({}, {}, is_connected=False)

    def show_streams(
        self, states: Mapping[StreamId, StreamState], status: Mapping[StreamId, StreamStatus | None], is_connected: bool
    ) -> None:
        """List the streams in the order of ``status``; keep the selection."""
        self.table.setHorizontalHeaderLabels([texts.of(f"streams.{column}") for column in COLUMNS])
        streams, selected = list(status), set(self._selected())
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(streams))
            for row, stream in enumerate(streams):
                state = states[stream]
                kind = texts.of(f"streams.{state.kind}")
                link, about = f"{kind}, {texts.of(f'link.{state.link}')}", texts.of_status(status[stream])
                if state.simulated is True:
                    link = f"{texts.of('panel.simulated')}, {link}"
                for column, text in enumerate((state.name or "", str(stream), link, about)):
                    item = self.table.item(row, column)
                    if item is None or item.text() != text:
                        self.table.setItem(row, column, QTableWidgetItem(text))
            if streams != self._listed:
                self._listed = streams
                self.table.clearSelection()
                select = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
                for row, stream in enumerate(streams):
                    if stream in selected:
                        self.table.selectionModel().select(self.table.model().index(row, 0), select)
        self._hide_others()
        if not is_connected:
            self.state.setText(texts.of("streams.not_connected"))
        else:
            self.state.setText(texts.of("streams.choose" if streams else "streams.none"))

    def _hide_others(self) -> None:
        """Show the streams in whose name, id or state every searched word is; a hidden one is not chosen."""
        words = search_key(self.search.text()).split()
        for row in range(self.table.rowCount()):
            cells = (self.table.item(row, column) for column in range(len(COLUMNS)))
            text = search_key(" ".join(cell.text() for cell in cells if cell is not None))
            self.table.setRowHidden(row, not all(word in text for word in words))
        self._enable_button()

    def _selected(self) -> list[StreamId]:
        rows = sorted({index.row() for index in self.table.selectedIndexes()})
        rows = [row for row in rows if not self.table.isRowHidden(row)]
        return [self._listed[row] for row in rows if row < len(self._listed)]

    def _enable_button(self) -> None:
        self.show_button.setEnabled(1 <= len(self._selected()) <= COMPARED_MAX)

    def _choose(self) -> None:
        if self.show_button.isEnabled():
            self.chosen.emit(self._selected())


class HeadsetBox(QGroupBox):
    """A serial-bridge on this computer: its port, the student's name and the class code."""

    chosen = Signal(str, str, str)
    """Port, name and class code of the bridge to start."""

    def __init__(self, bridge: LocalBridge) -> None:
        super().__init__()
        translated(self, title="headset.title")
        self.bridge = bridge
        self.port, self.start_button = QComboBox(), QPushButton()
        self.name = translated(QLineEdit(), placeholderText="headset.name_placeholder")
        self.code = translated(QLineEdit(), placeholderText="headset.code_placeholder")
        self.refresh_button = translated(QPushButton(), text="headset.refresh")
        self.file_button = translated(QPushButton(), text="headset.file")
        self.state = QLabel(wordWrap=True, textFormat=PLAIN)
        self._file = ""
        self._chosen: str | None = None
        """The port that somebody chose; None before that."""
        self._remembered = ""
        self.port.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.port.setMinimumContentsLength(PORT_MIN_CHARS)
        buttons = FlowLayout(BUTTONS_SPACING_PX)
        buttons.addWidget(self.refresh_button)
        buttons.addWidget(self.file_button)
        form = QFormLayout(self)
        _add_row(form, "headset.port", self.port)
        form.addRow("", buttons)
        _add_row(form, "headset.name", self.name)
        _add_row(form, "headset.code", self.code)
        form.addRow(self.start_button)
        form.addRow(self.state)
        self.refresh_button.clicked.connect(bridge.list_ports)
        self.file_button.clicked.connect(self._choose_file)
        self.start_button.clicked.connect(self._start_or_stop)
        self.port.activated.connect(self._on_chosen)
        bridge.changed.connect(self.show_bridge)
        self.show_bridge()

    def show_bridge(self) -> None:
        """Show the ports, and the state of the local bridge."""
        bridge, is_running = self.bridge, self.bridge.is_running
        ports = [(port, f"{port} - {about}" if about else port) for port, about in bridge.ports.items()]
        ports += [(ANY_BLE, texts.of("headset.any_ble")), (SIMULATOR, texts.of("headset.simulated"))]
        if self._file:
            ports.append((self._file, self._file))
        if ports != [(self.port.itemData(n), self.port.itemText(n)) for n in range(self.port.count())]:
            self.port.clear()
            for port, text in ports:
                self.port.addItem(text, port)
            # By itself only a serial port is chosen, and none in place of one that was unplugged. What is in reach over
            # Bluetooth LE may be the headset of a class next door.
            serial = (port for port in bridge.ports if not port.startswith(f"{ANY_BLE}:"))
            first = self._remembered if self._remembered in bridge.ports else next(serial, "")
            self.port.setCurrentIndex(self.port.findData(first if self._chosen is None else self._chosen))
        self.port.setPlaceholderText(texts.of("headset.choose_port"))
        self.start_button.setText(texts.of("headset.stop" if is_running else "headset.start"))
        for widget in (self.port, self.name, self.code, self.file_button):
            widget.setEnabled(not is_running)
        self.start_button.setEnabled(is_running or self.port.currentIndex() >= 0)
        if is_running:
            self.state.setText(texts.of("headset.running").format(bridge.port, bridge.last_line))
        elif bridge.exit_code is None:
            self.state.setText(texts.of("headset.not_started"))
        elif bridge.exit_code == 0:
            self.state.setText(texts.of("headset.ended"))
        else:
            self.state.setText(texts.of("headset.failed").format(bridge.last_line))

    def remember_port(self, port: str) -> None:
        """Prefer the serial port of the last run while nobody chooses another; a file or the simulator is not one."""
        self._remembered = port

    @property
    def wanted_port(self) -> str | None:
        """Return the port that somebody chose, now or in the last run; None if nobody did."""
        return self._chosen or (self._remembered if self._remembered in self.bridge.ports else None)

    @property
    def recorded_name(self) -> str:
        """Return the name under which a recorder keeps the headset: a simulated one has a name too, as with `up`."""
        return self.name.text().strip() or (DEMO if self.wanted_port == SIMULATOR else "")

    def choose_port(self, port: str) -> None:
        """Choose a port, now or as soon as it is listed."""
        self._chosen = port
        self.port.setCurrentIndex(self.port.findData(port))
        self.show_bridge()

    def _on_chosen(self) -> None:
        self.choose_port(self.port.currentData())

    def _choose_file(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, texts.of("headset.choose_file"))
        if file:
            self._file = file
            self.show_bridge()
            self.choose_port(file)

    def _start_or_stop(self) -> None:
        if self.bridge.is_running:
            self.bridge.stop()
        elif self.port.currentData():
            self.chosen.emit(self.port.currentData(), self.name.text(), self.code.text())


def _add_row(form: QFormLayout, key: str, field: QWidget) -> None:
    """Add a field to a form, and its label with the text of ``key``."""
    label = translated(QLabel(), text=key)
    label.setBuddy(field)
    form.addRow(label, field)
