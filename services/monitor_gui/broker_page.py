"""The connection page: which broker, which streams, and a headset on this computer."""

from collections.abc import Mapping
from typing import Final

from PySide6.QtCore import QEvent, QItemSelectionModel, QSignalBlocker, Qt, Signal
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
from neuroone.service.settings import BrokerAddress

SIMULATOR: Final = "sim"
COMPARED_MAX: Final = 2
"""Streams beside each other; more are too narrow to read."""


class ConnectionPage(QWidget):
    """Says what is connected, and asks for other things by its signals."""

    broker_chosen = Signal(object)
    streams_chosen = Signal(list)
    port_chosen = Signal(str, str, str)

    def __init__(self, bridge: LocalBridge) -> None:
        super().__init__()
        self.bridge = bridge
        self.broker_box, self.streams_box, self.headset_box = QGroupBox(), QGroupBox(), QGroupBox()
        self.address, self.user, self.password = QLineEdit(), QLineEdit(), QLineEdit()
        self.password.setEchoMode(QLineEdit.EchoMode.Password)
        self.connect_button, self.show_button = QPushButton(), QPushButton()
        self.broker_words, self.streams_words, self.bridge_words = QLabel(), QLabel(), QLabel()
        self.table = QTableWidget(0, 4)
        self.port, self.name, self.code = QComboBox(), QLineEdit(), QLineEdit()
        self.refresh_button, self.start_button, self.file_button = QPushButton(), QPushButton(), QPushButton()
        self._address_label, self._user_label, self._password_label = QLabel(), QLabel(), QLabel()
        self._port_label, self._name_label, self._code_label = QLabel(), QLabel(), QLabel()
        self._listed: list[StreamId] = []
        self._file = ""
        self._has_wrong_address = False
        self._lay_out()
        self._connect_widgets()
        self.retranslate()

    def _lay_out(self) -> None:
        broker = QFormLayout(self.broker_box)
        for label, edit in (
            (self._address_label, self.address),
            (self._user_label, self.user),
            (self._password_label, self.password),
        ):
            label.setBuddy(edit)
            broker.addRow(label, edit)
        broker.addRow(self.connect_button)
        broker.addRow(self.broker_words)
        headset = QFormLayout(self.headset_box)
        port = QHBoxLayout()
        port.addWidget(self.port, 1)
        port.addWidget(self.refresh_button)
        port.addWidget(self.file_button)
        self._port_label.setBuddy(self.port)
        headset.addRow(self._port_label, port)
        for label, edit in ((self._name_label, self.name), (self._code_label, self.code)):
            label.setBuddy(edit)
            headset.addRow(label, edit)
        headset.addRow(self.start_button)
        headset.addRow(self.bridge_words)
        streams = QVBoxLayout(self.streams_box)
        streams.addWidget(self.table, 1)
        streams.addWidget(self.streams_words)
        streams.addWidget(self.show_button)
        for label in (self.broker_words, self.streams_words, self.bridge_words):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.port.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.port.setMinimumContentsLength(18)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        left = QVBoxLayout()
        left.addWidget(self.broker_box)
        left.addWidget(self.headset_box)
        left.addStretch(1)
        both = QHBoxLayout(self)
        both.addLayout(left, 2)
        both.addWidget(self.streams_box, 3)

    def _connect_widgets(self) -> None:
        self.connect_button.clicked.connect(self._choose_broker)
        for edit in (self.address, self.user, self.password):
            edit.returnPressed.connect(self._choose_broker)
        self.show_button.clicked.connect(self._choose_streams)
        self.table.doubleClicked.connect(self._choose_streams)
        self.table.itemSelectionChanged.connect(self._enable)
        self.refresh_button.clicked.connect(self.bridge.look_for_ports)
        self.file_button.clicked.connect(self._choose_file)
        self.start_button.clicked.connect(self._start_or_stop)
        self.bridge.changed.connect(self.show_bridge)

    def show_broker(self, broker: BrokerAddress) -> None:
        """Fill in the broker's address and login."""
        self.address.setText(str(broker))
        self.user.setText(broker.user or "")
        self.password.setText(broker.password or "")

    def show_connection(self, text: str) -> None:
        """Say what the connection does, unless an address was typed that is none."""
        if not self._has_wrong_address:
            self.broker_words.setText(text)

    def show_streams(
        self, states: Mapping[StreamId, StreamState], status: Mapping[StreamId, StreamStatus], is_connected: bool
    ) -> None:
        """List the streams, the live ones first."""
        streams = sorted(states, key=lambda stream: (status[stream] is StreamStatus.OFFLINE, stream))
        chosen = set(self._selected())
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(streams))
            for row, stream in enumerate(streams):
                state = states[stream]
                kind = self.tr("headset") if state.kind is Kind.HEADSET else self.tr("student's app")
                cells = (str(stream), state.name or "", f"{kind}, {texts.of_link(state.link)}")
                for column, text in enumerate((*cells, texts.of_status(status[stream]))):
                    self._write(row, column, text)
            if streams != self._listed:
                self._listed = streams
                self.table.clearSelection()
                choose = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
                for row, stream in enumerate(streams):
                    if stream in chosen:
                        self.table.selectionModel().select(self.table.model().index(row, 0), choose)
        if not is_connected:
            self.streams_words.setText(self.tr("Streams are listed as soon as a broker is connected."))
        elif not streams:
            self.streams_words.setText(self.tr("No stream yet: start a headset, or a student's app."))
        else:
            self.streams_words.setText(self.tr("Choose one stream to show, or two to compare."))
        self._enable()

    def show_bridge(self) -> None:
        """Show the ports, and what the local bridge does."""
        entries = [
            (port.port, f"{port.port} - {port.words}" if port.words else port.port) for port in self.bridge.ports
        ]
        entries.append((SIMULATOR, self.tr("Simulated headset")))
        old = [(self.port.itemData(n), self.port.itemText(n)) for n in range(self.port.count())]
        if self._file:
            entries.append((self._file, self._file))
        if entries != old:
            chosen = self.port.currentData()
            self.port.clear()
            for port, text in entries:
                self.port.addItem(text, port)
            self.choose_port(chosen or self.bridge.port or "")
        is_running = self.bridge.is_running
        self.start_button.setText(self.tr("S&top the bridge") if is_running else self.tr("&Start a bridge on it"))
        for widget in (self.port, self.name, self.code, self.file_button):
            widget.setEnabled(not is_running)
        if is_running:
            words_now = self.tr("serial-bridge runs on {0}. {1}").format(self.bridge.port, self.bridge.last_words)
        elif self.bridge.exit_code is None:
            words_now = self.tr("No bridge was started from here.")
        elif self.bridge.exit_code == 0:
            words_now = self.tr("serial-bridge has ended.")
        else:
            words_now = self.tr("serial-bridge failed: {0}").format(self.bridge.last_words)
        self.bridge_words.setText(words_now)

    def choose_port(self, port: str) -> None:
        """Choose a port, if it is listed."""
        at = self.port.findData(port)
        if at >= 0:
            self.port.setCurrentIndex(at)

    def retranslate(self) -> None:
        """Write every word anew."""
        self.broker_box.setTitle(self.tr("Broker"))
        self._address_label.setText(self.tr("&Address:"))
        self._user_label.setText(self.tr("&User:"))
        self._password_label.setText(self.tr("Pass&word:"))
        self.address.setPlaceholderText("mqtt://127.0.0.1:1883")
        self.connect_button.setText(self.tr("&Connect"))
        self.streams_box.setTitle(self.tr("Streams"))
        self.table.setHorizontalHeaderLabels([self.tr("Stream"), self.tr("Name"), self.tr("Link"), self.tr("Status")])
        self.table.setAccessibleName(self.tr("Streams"))
        self.show_button.setText(self.tr("Sh&ow"))
        self.headset_box.setTitle(self.tr("Headset on this computer"))
        self._port_label.setText(self.tr("&Port:"))
        self._name_label.setText(self.tr("&Name:"))
        self._code_label.setText(self.tr("Class co&de:"))
        self.name.setPlaceholderText(self.tr("with a name it is recorded; may be empty"))
        self.code.setPlaceholderText(self.tr("may be empty"))
        self.refresh_button.setText(self.tr("&Refresh"))
        self.file_button.setText(self.tr("Capture &file..."))
        self.show_bridge()

    def changeEvent(self, event: QEvent) -> None:  # noqa: D102 (Qt's name)
        if event.type() == QEvent.Type.LanguageChange:
            self.retranslate()
        super().changeEvent(event)

    def _write(self, row: int, column: int, text: str) -> None:
        item = self.table.item(row, column)
        if item is None:
            self.table.setItem(row, column, QTableWidgetItem(text))
        elif item.text() != text:
            item.setText(text)

    def _selected(self) -> list[StreamId]:
        rows = sorted({index.row() for index in self.table.selectedIndexes()})
        return [self._listed[row] for row in rows if row < len(self._listed)]

    def _enable(self) -> None:
        self.show_button.setEnabled(1 <= len(self._selected()) <= COMPARED_MAX)

    def _choose_broker(self) -> None:
        text = self.address.text().strip() or self.address.placeholderText()
        try:
            address = BrokerAddress.parse(text if "://" in text else f"mqtt://{text}")
        except ValueError:
            self._has_wrong_address = True
            self.broker_words.setText(
                self.tr("The address must be like mqtt://host:1883, or mqtts://host:8883 for TLS.")
            )
            return
        self._has_wrong_address = False
        user = self.user.text() or address.user
        password = self.password.text() or address.password
        self.broker_chosen.emit(BrokerAddress(address.host, address.port, address.tls, user, password))

    def _choose_streams(self) -> None:
        if self.show_button.isEnabled():
            self.streams_chosen.emit(self._selected())

    def _choose_file(self) -> None:
        self.take_file(QFileDialog.getOpenFileName(self, self.tr("A capture of a headset"))[0])

    def take_file(self, file: str) -> None:
        """Offer a capture file as port."""
        if file:
            self._file = file
            self.show_bridge()
            self.choose_port(file)

    def _start_or_stop(self) -> None:
        if self.bridge.is_running:
            self.bridge.stop()
        elif self.port.currentData():
            self.port_chosen.emit(self.port.currentData(), self.name.text(), self.code.text())
