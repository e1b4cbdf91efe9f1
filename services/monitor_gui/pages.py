"""The pages of the window."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QStackedWidget

from monitor_gui.big_numbers import BigNumbers
from monitor_gui.broker_page import BrokerPage
from monitor_gui.class_page import ClassPage
from monitor_gui.contact_guide import ContactGuide
from monitor_gui.feed import Feed
from monitor_gui.local_bridge import LocalBridge
from monitor_gui.local_system import LocalSystem
from monitor_gui.plots_page import PlotsPage
from monitor_gui.settings import PAGES
from monitor_gui.shortcuts import ShortcutsPage


class Pages(QStackedWidget):
    """The pages, in the order of PAGES."""

    def __init__(self, feed: Feed, bridge: LocalBridge, system: LocalSystem) -> None:
        super().__init__()
        self.plots, self.broker, self.shortcuts = PlotsPage(feed), BrokerPage(bridge, system), ShortcutsPage()
        self.classroom, self.contact, self.numbers = ClassPage(), ContactGuide(), BigNumbers()
        self.before = "monitor"
        """The page to come back to from the full screen."""
        for page in (self.plots, self.broker, self.shortcuts, self.classroom, self.contact, self.numbers):
            # With the focus on the page and not in a text field, letters and digits are commands.
            page.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
            self.addWidget(page)

    @property
    def name(self) -> str:
        """Return the name of the shown page."""
        return PAGES[self.currentIndex()]

    def open(self, name: str) -> None:
        """Show one of PAGES and give it the focus."""
        self.setCurrentIndex(PAGES.index(name))
        if (page := self.currentWidget()) is not None:
            page.setFocus()
