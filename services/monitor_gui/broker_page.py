"""The connection page: the broker, the streams on it, and a headset on this computer."""

from collections.abc import Mapping
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
from monitor_gui.local_bridge import LocalBridge
from neuroone.contract.messages import Kind, StreamState, StreamStatus
from neuroone.mqtt.address import BrokerAddress

PLAIN: Final = Qt.TextFormat.PlainText
SIMULATOR: Final = "sim"
COMPARED_MAX: Final = 2
"""Streams beside each other; more are too narrow to read."""


class BrokerPage(QWidget):
    """The three boxes of the page."""

    def __init__(self, bridge: LocalBridge) -> None:
        super().__init__()
        self.broker, self.streams, self.headset = BrokerBox(), StreamsBox(), HeadsetBox(bridge)
        left = QVBoxLayout()
        left.addWidget(self.broker)
        left.addWidget(self.headset)
        left.addStretch(1)
        both = QHBoxLayout(self)
        both.addLayout(left, 2)
        both.addWidget(self.streams, 3)

    def retranslate(self) -> None:
        """Write every text in the current language."""
        for box in (self.broker, self.streams, self.headset):
            box.retranslate()


class BrokerBox(QGroupBox):
    """Address and login of the broker."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.address, self.user, self.password = QLineEdit(), QLineEdit(), QLineEdit()
        self.connect_button, self.state = QPushButton(), QLabel(wordWrap=True, textFormat=PLAIN)
        self._has_wrong_address = False
        self.password.setEchoMode(QLineEdit.EchoMode.Password)
        form = QFormLayout(self)
        self._labels = _labelled(form, address=self.address, user=self.user, password=self.password)
        form.addRow(self.connect_button)
        form.addRow(self.state)
        self.connect_button.clicked.connect(self._choose)
        for edit in (self.address, self.user, self.password):
            edit.returnPressed.connect(self._choose)
        self.retranslate()

    def show_address(self, broker: BrokerAddress) -> None:
        """Fill in the broker's address and login."""
        self.address.setText(str(broker))
        self.user.setText(broker.user or "")
        self.password.setText(broker.password or "")

    def show_connection(self, text: str) -> None:
        """Show the state of the connection, unless a wrong address is being corrected."""
        if not self._has_wrong_address:
            self.state.setText(text)

    def retranslate(self) -> None:
        """Write every text in the current language."""
        self.setTitle(self.tr("Broker"))
        self._labels["address"].setText(self.tr("&Address:"))
        self._labels["user"].setText(self.tr("&User:"))
        self._labels["password"].setText(self.tr("Pass&word:"))
        self.address.setPlaceholderText("mqtt://127.0.0.1:1883")
        self.connect_button.setText(self.tr("&Connect"))

    def _choose(self) -> None:
        text = self.address.text().strip() or self.address.placeholderText()
        try:
            address = BrokerAddress.parse(text if "://" in text else f"mqtt://{text}")
        except ValueError:
            self._has_wrong_address = True
            self.state.setText(self.tr("The address must be like mqtt://host:1883, or mqtts://host:8883 for TLS."))
            return
        self._has_wrong_address = False
        user, password = self.user.text() or address.user, self.password.text() or address.password
        self.chosen.emit(BrokerAddress(address.host, address.port, address.tls, user, password))


class StreamsBox(QGroupBox):
    """The streams on the broker, to show one or compare two."""

    chosen = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self.table, self.show_button = QTableWidget(0, 4), QPushButton()
        self.state = QLabel(wordWrap=True, textFormat=PLAIN)
        self._listed: list[StreamId] = []
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        column = QVBoxLayout(self)
        column.addWidget(self.table, 1)
        column.addWidget(self.state)
        column.addWidget(self.show_button)
        self.show_button.clicked.connect(self._choose)
        self.table.doubleClicked.connect(self._choose)
        self.table.itemSelectionChanged.connect(self._enable_button)
        self.retranslate()

    def show_streams(
        self, states: Mapping[StreamId, StreamState], status: Mapping[StreamId, StreamStatus], is_connected: bool
    ) -> None:
        """List the streams in the order of ``status``; keep the selection."""
        streams, selected = list(status), set(self._selected())
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(streams))
            for row, stream in enumerate(streams):
                state = states[stream]
                kind = self.tr("headset") if state.kind is Kind.HEADSET else self.tr("student's app")
                link, about = f"{kind}, {texts.of(state.link)}", texts.of(status[stream])
                for column, text in enumerate((str(stream), state.name or "", link, about)):
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
        if not is_connected:
            self.state.setText(self.tr("Streams are listed as soon as a broker is connected."))
        elif not streams:
            self.state.setText(self.tr("No stream yet: start a headset, or a student's app."))
        else:
            self.state.setText(self.tr("Choose one stream to show, or two to compare."))
        self._enable_button()

    def retranslate(self) -> None:
        """Write every text in the current language."""
        self.setTitle(self.tr("Streams"))
        self.table.setHorizontalHeaderLabels([self.tr("Stream"), self.tr("Name"), self.tr("Link"), self.tr("Status")])
        self.table.setAccessibleName(self.tr("Streams"))
        self.show_button.setText(self.tr("Sh&ow"))

    def _selected(self) -> list[StreamId]:
        rows = sorted({index.row() for index in self.table.selectedIndexes()})
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
        self.bridge = bridge
        self.port, self.name, self.code = QComboBox(), QLineEdit(), QLineEdit()
        self.refresh_button, self.start_button, self.file_button = QPushButton(), QPushButton(), QPushButton()
        self.state = QLabel(wordWrap=True, textFormat=PLAIN)
        self._file = ""
        self.port.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.port.setMinimumContentsLength(18)
        ports = QHBoxLayout()
        ports.addWidget(self.port, 1)
        ports.addWidget(self.refresh_button)
        ports.addWidget(self.file_button)
        form = QFormLayout(self)
        self._labels = _labelled(form, port=ports, name=self.name, code=self.code)
        self._labels["port"].setBuddy(self.port)
        form.addRow(self.start_button)
        form.addRow(self.state)
        self.refresh_button.clicked.connect(bridge.list_ports)
        self.file_button.clicked.connect(self._choose_file)
        self.start_button.clicked.connect(self._start_or_stop)
        bridge.changed.connect(self.show_bridge)
        self.retranslate()

    def show_bridge(self) -> None:
        """Show the ports, and the state of the local bridge."""
        bridge, is_running = self.bridge, self.bridge.is_running
        ports = [(port, f"{port} - {about}" if about else port) for port, about in bridge.ports.items()]
        ports.append((SIMULATOR, self.tr("Simulated headset")))
        if self._file:
            ports.append((self._file, self._file))
        if ports != [(self.port.itemData(n), self.port.itemText(n)) for n in range(self.port.count())]:
            chosen = self.port.currentData()
            self.port.clear()
            for port, text in ports:
                self.port.addItem(text, port)
            self.choose_port(chosen or bridge.port or "")
        self.start_button.setText(self.tr("S&top the bridge") if is_running else self.tr("&Start a bridge on it"))
        for widget in (self.port, self.name, self.code, self.file_button):
            widget.setEnabled(not is_running)
        if is_running:
            self.state.setText(self.tr("serial-bridge runs on {0}. {1}").format(bridge.port, bridge.last_line))
        elif bridge.exit_code is None:
            self.state.setText(self.tr("No bridge was started from here."))
        elif bridge.exit_code == 0:
            self.state.setText(self.tr("serial-bridge has ended."))
        else:
            self.state.setText(self.tr("serial-bridge failed: {0}").format(bridge.last_line))

    def choose_port(self, port: str) -> None:
        """Choose a port if it is listed."""
        if (at := self.port.findData(port)) >= 0:
            self.port.setCurrentIndex(at)

    def retranslate(self) -> None:
        """Write every text in the current language."""
        self.setTitle(self.tr("Headset on this computer"))
        self._labels["port"].setText(self.tr("&Port:"))
        self._labels["name"].setText(self.tr("&Name:"))
        self._labels["code"].setText(self.tr("Class co&de:"))
        self.name.setPlaceholderText(self.tr("with a name it is recorded; may be empty"))
        self.code.setPlaceholderText(self.tr("may be empty"))
        self.refresh_button.setText(self.tr("&Refresh"))
        self.file_button.setText(self.tr("Capture &file..."))
        self.show_bridge()

    def _choose_file(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, self.tr("A capture of a headset"))
        if file:
            self._file = file
            self.show_bridge()
            self.choose_port(file)

    def _start_or_stop(self) -> None:
        if self.bridge.is_running:
            self.bridge.stop()
        elif self.port.currentData():
            self.chosen.emit(self.port.currentData(), self.name.text(), self.code.text())


def _labelled(form: QFormLayout, **fields: QWidget | QHBoxLayout) -> dict[str, QLabel]:
    """Add fields to a form, each with an empty label; return the labels by name."""
    labels = {name: QLabel() for name in fields}
    for name, field in fields.items():
        form.addRow(labels[name], field)
        if isinstance(field, QWidget):
            labels[name].setBuddy(field)
    return labels
