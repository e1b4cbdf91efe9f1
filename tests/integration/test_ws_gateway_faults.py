"""From phone to file with the real recorder, while things go wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from neuroone.up import brokers

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests end programs by signals, which Windows has not"),
]


def bench(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a bench; its exit code tells whether its limits hold."""
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{module}", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=140,
    )
    print(done.stdout)
    return done


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kind", brokers.KINDS)
@pytest.mark.parametrize("fault", ["broker", "gateway"])
def test_every_reading_is_in_the_files_once(fault: str, kind: str) -> None:
    """Five times kill -9 of the broker, or SIGTERM of the gateway, under load: the bench in small."""
    if brokers.find(kind) is None:
        pytest.skip(f"{kind} is not installed on this machine")
    words = ["--students", "40", "--seconds", "6", "--broker-program", kind, "--log"]
    done = bench("gateway_faults", fault, *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(150)
def test_every_reading_of_a_time_in_which_the_gateway_stood_still_is_in_the_files() -> None:
    """SIGSTOP for 15 s: what the phones sent meanwhile arrives at once, in both dialects."""
    words = ["--students", "20", "--victims", "gateway", "--frozen-seconds", "15", "--log"]
    done = bench("gateway_faults", "freeze", *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(150)
def test_hostile_clients_reach_no_file_and_harm_nobody() -> None:
    """Names like paths, topics and formulas, and invalid frames: a good client beside them loses nothing."""
    done = bench("gateway_limits", "hostile", "2000")
    assert done.returncode == 0, done.stderr
