"""From phone to file with the real recorder, while broker and gateway come and go: nothing lost, nothing doubled."""

import subprocess
import sys
from pathlib import Path

import pytest

from neuroone import brokers

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kind", brokers.KINDS)
@pytest.mark.parametrize("fault", ["broker", "gateway"])
def test_every_reading_is_in_the_files_once(fault: str, kind: str) -> None:
    """Five times kill -9 of the broker, or SIGTERM of the gateway, under load: the bench in small."""
    if brokers.find(kind) is None:
        pytest.skip(f"{kind} is not installed on this machine")
    words = [fault, "--students", "40", "--seconds", "10", "--broker-program", kind, "--log"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.gateway_faults", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=140,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
