"""Loading SciPy beside the window."""

import sys
from collections.abc import Iterator

import pytest

from monitor_gui.signal import scipy_loading
from tests.support.waiting import wait_for


@pytest.fixture(autouse=True)
def first_time() -> Iterator[None]:
    scipy_loading._loading.cache_clear()
    yield
    scipy_loading._loading.cache_clear()


def test_what_cannot_be_loaded_is_never_loaded(monkeypatch, caplog):
    """A damaged installation: without this the import would fail in each frame, and nothing would be drawn."""

    def fail(name: str) -> None:
        raise ImportError(name)

    monkeypatch.delitem(sys.modules, scipy_loading.SCIPY, raising=False)
    monkeypatch.setattr(scipy_loading, "import_module", fail)
    assert not scipy_loading.is_loaded()
    wait_for(lambda: not scipy_loading._loading().is_alive(), "end of loading")
    assert not scipy_loading.is_loaded()
    assert "cannot be loaded" in caplog.text
