"""Hours of a bad network, in minutes, for clients/neuroone.js in Node and in Chromium.

    python -m bench.client_network [--hours 3] [--in node chromium]

Once a minute the network fails in another way: it goes silent, holds back, drops, refuses, carries one way only or
delays. The gateway, broker and recorder are real; only the client's clock runs fast. Then every reading must be
recorded once, under its own name, and the student was back within 15 s of its own time: the exit code says so. Three
hours take about five minutes each.
"""

import argparse
import tempfile
import time
from pathlib import Path

from neuroone.up import brokers
from tests.support.bad_network import RecordedStack, recorded_stack, run_in_browser, run_in_node
from tests.support.brokers import Broker
from tests.support.browser import chromium


def run(place: str, stack: RecordedStack, seconds: int) -> dict[str, int]:
    if place == "node":
        return run_in_node(stack, seconds)
    with chromium() as browser:
        return run_in_browser(stack, browser, seconds)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--hours", type=float, default=3.0)
    options.add_argument("--in", dest="places", nargs="+", choices=("node", "chromium"), default=["node", "chromium"])
    given = options.parse_args()
    seconds = round(given.hours * 3600)
    for place in given.places:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            broker = Broker(next(kind for kind in brokers.KINDS if brokers.find(kind)), folder)
            broker.start()
            try:
                with recorded_stack(broker, folder / "recordings") as stack:
                    began_s = time.monotonic()
                    figures = run(place, stack, seconds)
                    stack.check_rows(seconds)
            finally:
                broker.stop()
        print(
            f"{place}: {seconds} readings in {given.hours:g} h of a bad network, none lost or doubled; "
            f"{figures['connections']} connections, back within {figures['slowest_s']} s; "
            f"took {time.monotonic() - began_s:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
