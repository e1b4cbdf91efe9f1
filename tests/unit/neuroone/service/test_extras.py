"""What is said where a package of an extra is missing."""

import re
import subprocess
import sys

import pytest

from neuroone.service import extras
from tests.support.documents import ROOT

BLOCKED = "import runpy, sys; sys.modules[{package!r}] = None; runpy.run_module({program!r}, run_name='__main__')"


@pytest.mark.parametrize(
    ("program", "package"),
    [
        ("serial_bridge", "serial"),
        ("serial_bridge", "platformdirs"),
        ("ws_gateway", "websockets"),
        ("ws_gateway", "prometheus_client"),
        ("csv_recorder", "filelock"),
        ("monitor_gui", "numpy"),
        ("monitor_gui", "PySide6"),
        ("monitor_gui", "pyqtgraph"),
        ("lsl_outlet", "pylsl"),
    ],
)
def test_a_program_without_its_extra_says_so_in_one_sentence(program: str, package: str) -> None:
    code = BLOCKED.format(package=package, program=program)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert package in line
    assert f"extra {'lsl' if program == 'lsl_outlet' else program.replace('_', '-')}" in line
    assert "run.py exec" in line


def test_a_damaged_package_is_named_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, extras.needed("ws-gateway"):
        raise ImportError("libc.musl: cannot open shared object file", name="msgspec._core")
    assert ended.value.code == 2
    assert "ws-gateway needs the package msgspec, which cannot be loaded" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ws_gateway.nothing", "neuroone.nothing", None])
def test_a_fault_of_ours_is_not_taken_for_a_missing_extra(name: str | None) -> None:
    with pytest.raises(ImportError), extras.needed("ws-gateway"):
        raise ImportError("cannot import name 'nothing'", name=name)


def test_no_text_says_to_install_the_bare_name() -> None:
    """Whoever owns that name on an index would be installed."""
    bare = re.compile(r"""pip install (?:-\S+ )*['"`]*neuroone(?!-[\d*])""", re.IGNORECASE)
    assert bare.search("pip install 'neuroone[up]'")
    assert not bare.search("pip install 'neuroone-0.1.0-py3-none-any.whl[up]'")
    texts = [
        each
        for kind in ("*.md", "*.py", "*.json", "*.html", "*.js", "*.sh", "*.yaml")
        for folder in (".", "docs", "neuroone", "services", "deploy", "clients")
        for each in ((ROOT / folder).glob(kind) if folder == "." else (ROOT / folder).rglob(kind))
    ]
    assert len(texts) > 200
    assert [str(each) for each in texts if bare.search(each.read_text(encoding="utf-8"))] == []


def test_the_folder_without_python_does_not_say_to_install_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    said = extras.sentence("export --to parquet", "pyarrow", "csv-recorder-export")
    assert said.startswith("export --to parquet needs the package pyarrow, which this folder")
    assert "extra" not in said
