"""The commands for containers, where neither Docker nor our packages are; tests/system/test_compose.py has both."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neuroone.maintenance import compose
from neuroone.maintenance.checkouts import Checkout
from neuroone.maintenance.compose import Stack

ROOT = Path(__file__).parents[4]


def test_it_needs_none_of_our_packages() -> None:
    """A server with Docker has no environment of ours."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import neuroone.maintenance.compose"
    assert subprocess.run([sys.executable, "-S", "-c", program], check=False).returncode == 0


def test_without_docker_no_containers_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not compose.is_used(tmp_path)


def test_what_runs_is_started_with_what_a_version_adds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As many of each as before, and services of profiles; what ended by itself, as it should, is not waited for."""
    ran = "ws_gateway running\nws_gateway running\nproxy_tls restarting\nmosquitto created\ncheck_settings exited"
    ran += "\ngrafana running"  # no service of the version that it goes back to
    services = {"ws_gateway": {}, "mosquitto": {}, "watch": {"restart": "always"}, "check_settings": {"restart": "no"}}
    asked: list[str] = []

    def docker(folder: Path, *words: str) -> str:
        asked.append(" ".join(words))
        return (
            ran if "ps" in words else json.dumps({"services": services | ({"proxy_tls": {}} if "*" in words else {})})
        )

    monkeypatch.setattr(compose, "docker", docker)
    stack = Stack(Checkout(tmp_path))
    stack._start()
    assert stack.fault() is None
    assert asked[-1] == (
        "compose up --detach --no-build --wait --scale ws_gateway=2 ws_gateway proxy_tls mosquitto watch"
    )
