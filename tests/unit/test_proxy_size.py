"""The proxies of compose.yaml and deploy hold the students that docs/how-to/server.md promises."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STUDENTS: Final = 8000
FILES_A_STUDENT: Final = 2
OTHER_FILES: Final = 500
"""Pages, downloads, and what the proxy itself has open."""
PROXY_ITSELF_MIB: Final = 40
SIZES: Final = {"m": 1, "MiB": 1, "g": 1024, "GiB": 1024}
"""In MiB."""
DEBIAN: Final = "user www-data;\nworker_processes auto;\nevents {\n\tworker_connections 768;\n}\nhttp {\n}\n"
linux = pytest.mark.skipif(sys.platform != "linux", reason="for Linux servers")


def figures_kib(document: str) -> dict[str, float]:
    """Return the most that a WebSocket takes, by the proxies in the table of a document."""
    rows = re.findall(r"^\| ((?:Caddy|nginx)[^|]*) \|(.* KiB) \|$", document, re.MULTILINE)
    return {proxy: max(map(float, re.findall(r"(\d+) KiB", figures))) for proxy, figures in rows}


def in_mib(size: str) -> int:
    found = re.fullmatch(r"(\d+)([a-zA-Z]+)", size)
    assert found
    return int(found[1]) * SIZES[found[2]]


@pytest.fixture
def english() -> dict[str, float]:
    return figures_kib((ROOT / "docs/how-to/server.md").read_text(encoding="utf-8"))


def test_both_languages_have_the_same_figures(english: dict[str, float]) -> None:
    portuguese = figures_kib((ROOT / "docs/how-to/server.pt-BR.md").read_text(encoding="utf-8"))
    assert list(portuguese.values()) == list(english.values())
    assert len(english) == 4


@pytest.mark.parametrize("name", ["proxy", "proxy_tls"])
def test_the_proxy_of_compose_holds_all_students(name: str, english: dict[str, float]) -> None:
    """As many connections as it may open fit into its memory: more are refused, and do not end those that are there."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    service = services[name]
    files = service["ulimits"]["nofile"]
    assert files >= STUDENTS * FILES_A_STUDENT + OTHER_FILES
    figure_kib = max(figure for proxy, figure in english.items() if proxy.startswith("Caddy"))
    limit_mib = in_mib(service["mem_limit"])
    assert files / FILES_A_STUDENT * figure_kib / 1024 + PROXY_ITSELF_MIB <= limit_mib
    low, high = map(int, service["sysctls"]["net.ipv4.ip_local_port_range"].split())
    assert high - low > 2 * files, "ports towards one gateway, also after all came back at once"
    assert in_mib(service["environment"]["GOMEMLIMIT"]) < limit_mib
    assert {"GOGC", "GODEBUG"} <= service["environment"].keys()


@linux
@pytest.mark.parametrize("is_known", [True, False])
def test_a_caddy_that_knows_small_buffers_gets_them(tmp_path: Path, is_known: bool) -> None:
    """And one that does not know them starts too."""
    program = tmp_path / "caddy"
    knows = "true" if is_known else '[ -z "$NEUROONE_STREAM_BUFFER" ]'
    program.write_text(
        f'#!/bin/sh\ncase $1 in adapt) {knows};; run) echo "$* with $NEUROONE_STREAM_BUFFER";; esac\n', encoding="utf-8"
    )
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    started = subprocess.run(
        ["sh", ROOT / "deploy/caddy/start.sh"], capture_output=True, text=True, check=True, env=environment
    )
    buffers = "stream_buffer_size 4KiB" if is_known else ""
    assert started.stdout == f"run --config /etc/caddy/Caddyfile --adapter caddyfile with {buffers}\n"


@linux
@pytest.mark.parametrize("tool", ["wget", "bash"])
@pytest.mark.parametrize(("status", "code"), [("200 OK", 0), ("500 Away", 1), (None, 1)])
def test_the_health_check_of_the_proxy_asks_its_own_port(
    tmp_path: Path, tool: str, status: str | None, code: int
) -> None:
    """With the programs of Alpine's image and with those of Debian's; nobody who listens is a fault."""
    for each in ("bash", "sh", "grep", "head", "timeout", "rm", "wc", *([tool] if tool == "wget" else [])):
        if (found := shutil.which(each)) is None:
            pytest.skip(f"{each} is not installed")
        (tmp_path / each).symlink_to(found)
    script = (ROOT / "deploy/caddy/healthcheck.sh").read_text(encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            with contextlib.suppress(OSError), server.accept()[0] as connection:
                connection.recv(1024)
                connection.sendall(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode())

        threading.Thread(target=answer, daemon=True).start() if status else server.close()
        script = script.replace("port=8088", f"port={port}").replace("failures_max=15", "failures_max=2")
        command, own = ["sh", "-c", script, "sh", "echo", "ended"], {"PATH": str(tmp_path), "TMPDIR": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, check=False, env=own, timeout=20)
        assert (bool(done.returncode), done.stdout) == (bool(code), b"")
    again = subprocess.run(command, capture_output=True, check=False, env=own, timeout=20)
    assert again.stdout == (b"ended\n" if code else b""), "the proxy is ended once it has not answered twice"


@linux
def test_the_command_for_nginx_lets_all_students_in(tmp_path: Path) -> None:
    """Applied to Debian's own configuration, which nginx still accepts; both documents have it."""
    site = (ROOT / "deploy/nginx/neuroone.conf").read_text(encoding="utf-8")
    found = re.search(r"^# (sed -i '.*') /etc/nginx/nginx.conf$", site, re.MULTILINE)
    assert found
    for language in ("", ".pt-BR"):
        assert found[1] in (ROOT / f"docs/how-to/server{language}.md").read_text(encoding="utf-8")
    file = tmp_path / "nginx.conf"
    file.write_text(DEBIAN, encoding="utf-8")
    subprocess.run(["sh", "-c", f'{found[1]} "$1"', "sh", file], check=True)
    limits = dict(re.findall(r"(worker_\w+) (\d+);", file.read_text(encoding="utf-8")))
    connections = int(limits["worker_connections"])
    assert connections >= STUDENTS * FILES_A_STUDENT + OTHER_FILES
    assert int(limits["worker_rlimit_nofile"]) > connections
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is not None:
        own = ["-e", f"{tmp_path}/error.log", "-p", f"{tmp_path}", "-g", f"pid {tmp_path}/pid;"]
        command = [program, "-t", *own, "-c", f"{file}"]
        tested = subprocess.run(command, capture_output=True, text=True, check=False)
        assert tested.returncode == 0, tested.stderr
