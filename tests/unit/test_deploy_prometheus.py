"""deploy/prometheus scrapes what there is, and its alerts ask for metrics that exist."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_it_scrapes_the_ports_of_compose_yaml() -> None:
    services = read("compose.yaml")["services"]
    gateway, recorder = read("deploy/prometheus/prometheus.yml")["scrape_configs"]
    (gateways,) = gateway["dns_sd_configs"]
    assert gateways["names"] == ["ws_gateway"]
    assert str(gateways["port"]) == services["ws_gateway"]["environment"]["NEUROONE_WS_PORT"]
    ((address,),) = (each["targets"] for each in recorder["static_configs"])
    assert address == f"csv_recorder:{services['csv_recorder']['environment']['NEUROONE_METRICS_PORT']}"
    assert "ports" not in services["csv_recorder"], "only containers of the network may read the metrics"


def test_alerts_ask_for_metrics_that_exist_and_speak_both_languages() -> None:
    known = set(
        re.findall(r"^\| `(neuroone_\w+)`", (ROOT / "docs/metrics.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for group in read("deploy/prometheus/alerts.yml")["groups"]:
        for rule in group["rules"]:
            expression = re.sub(r'"[^"]*"', "", rule["expr"])
            asked = {name.removesuffix("_bucket") for name in re.findall(r"neuroone_\w+", expression)}
            assert asked <= known, rule["alert"]
            assert set(rule["annotations"]) == {"summary", "resumo"}, rule["alert"]


def test_the_rules_are_those_of_the_configuration() -> None:
    assert read("deploy/prometheus/prometheus.yml")["rule_files"] == ["alerts.yml"]
