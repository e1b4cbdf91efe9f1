"""deploy/prometheus scrapes what there is; its alerts and the dashboards of Grafana ask for metrics that exist."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from examples.grafana.class_metrics import HELP
from neuroone.contract import topics
from neuroone.contract.messages import Reading

ROOT = Path(__file__).parents[2]


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_it_scrapes_the_ports_of_compose_yaml() -> None:
    services = read("compose.yaml")["services"]
    gateway, recorder, forwarder, classes = read("deploy/prometheus/prometheus.yml")["scrape_configs"]
    (gateways,) = gateway["dns_sd_configs"]
    assert gateways["names"] == ["ws_gateway"]
    assert str(gateways["port"]) == services["ws_gateway"]["environment"]["NEUROONE_WS_PORT"]
    ((address,),) = (each["targets"] for each in recorder["static_configs"])
    assert address == f"csv_recorder:{services['csv_recorder']['environment']['NEUROONE_METRICS_PORT']}"
    port = services["forwarder"]["environment"]["NEUROONE_FORWARD_METRICS_PORT"]
    assert forwarder["dns_sd_configs"] == [{"names": ["forwarder"], "type": "A", "port": int(port)}]
    (means,) = (f"{name}:{each['port']}" for each in classes["dns_sd_configs"] for name in each["names"])
    assert means == services["class_metrics"]["entrypoint"][-1].replace("0.0.0.0", "class_metrics")
    for name in ("csv_recorder", "class_metrics", "forwarder", "prometheus"):
        assert "ports" not in services[name], "only containers of the network may read the metrics"


def known() -> set[str]:
    return set(
        re.findall(r"^\| `(neuroone_\w+)`", (ROOT / "docs/metrics.md").read_text(encoding="utf-8"), re.MULTILINE)
    )


def asked(expression: str) -> set[str]:
    """Return the metrics that an expression names."""
    names = re.findall(r"neuroone_\w+", re.sub(r'"[^"]*"', "", expression))
    return {name.removesuffix("_bucket") for name in names}


def test_alerts_ask_for_metrics_that_exist_and_speak_both_languages() -> None:
    for group in read("deploy/prometheus/alerts.yml")["groups"]:
        for rule in group["rules"]:
            assert asked(rule["expr"]) <= known(), rule["alert"]
            assert set(rule["annotations"]) == {"summary", "resumo"}, rule["alert"]


def test_the_rules_are_those_of_the_configuration() -> None:
    assert read("deploy/prometheus/prometheus.yml")["rule_files"] == ["alerts.yml"]


@pytest.mark.parametrize("name", ["class", "operation"])
def test_dashboards_ask_for_metrics_that_exist(name: str) -> None:
    dashboard = json.loads((ROOT / f"examples/grafana/dashboards/{name}.json").read_text(encoding="utf-8"))
    of_classes = {f"neuroone_class_{each}" for each in HELP}
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert set().union(*map(asked, expressions)) <= known() | of_classes
    (source,) = read("examples/grafana/datasources.yml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    assert dashboard["uid"] == f"neuroone-{name}"


def test_grafana_finds_its_files_and_only_this_machine_finds_grafana() -> None:
    services = read("compose.yaml")["services"]
    grafana = services["grafana"]
    mounted = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert all((ROOT / path).exists() for path in mounted)
    (provider,) = read("examples/grafana/dashboards.yml")["providers"]
    assert mounted["./examples/grafana/dashboards"] == provider["options"]["path"]
    assert read("examples/grafana/datasources.yml")["datasources"][0]["url"] == "http://prometheus:9090"
    assert [port.split(":")[0] for port in grafana["ports"]] == ["127.0.0.1"]
    assert {services[name]["profiles"][0] for name in ("class_metrics", "prometheus", "grafana")} == {"grafana"}


def test_telegraf_reads_topics_and_fields_of_the_contract_and_no_names() -> None:
    """Telegraf itself could not be had: this compares what stands in its file."""
    config = tomllib.loads((ROOT / "examples/telegraf/telegraf.conf").read_text(encoding="utf-8"))
    (consumer,) = config["inputs"]["mqtt_consumer"]
    (parsing,) = consumer["topic_parsing"]
    everything = topics.every(topics.READING, "local").replace("/local/", "/+/")
    assert [*consumer["topics"], parsing["topic"]] == [everything] * 2
    fields = {field.name for field in msgspec.structs.fields(Reading)}
    assert {*consumer["fieldinclude"], consumer["json_time_key"]} <= fields
    assert (consumer["topic_tag"], consumer["qos"]) == ("", topics.READING.qos)
    topic = str(topics.reading("local", "a-class", "a-student"))
    levels = dict(zip(parsing["tags"].split("/"), topic.split("/"), strict=True))
    assert (levels["site"], levels["group"], "source" in levels) == ("local", "a-class", False)
