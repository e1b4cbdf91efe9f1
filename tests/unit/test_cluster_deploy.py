"""What deploy/cluster promises: nodes of one configuration, services with all of them, shards without a hole."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuroone import cluster
from neuroone.service import settings
from neuroone.service.variables import ENV_PREFIX

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy/cluster"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
NODES = {name: service for name, service in SERVICES.items() if re.fullmatch(r"n\d", name)}
RECORDERS = {name: service for name, service in SERVICES.items() if name.startswith("recorder_")}
LASTING = {name: service for name, service in SERVICES.items() if service["restart"] != "no"}


def test_every_node_has_its_own_folder_and_state() -> None:
    """By the names that are made without any setting."""
    made = SERVICES["cluster"]["environment"]["NEUROONE_NODE"]
    assert made == "${NEUROONE_NODES:-" + ",".join(NODES) + "}"
    for name, node in NODES.items():
        assert node["working_dir"].endswith(f":-{name}}}")
        assert f"{name}:/nats" in node["volumes"]
        wait, watch, server = node["entrypoint"][-1].splitlines()
        assert wait.endswith("healthcheck.py --wait")
        assert watch.endswith("healthcheck.py --watch /tmp/nats.pid &")
        assert server == f"exec nats-server -c {cluster.CONF} -sd /nats -P /tmp/nats.pid"
        assert node["user"] == "10005:10005"
        assert {f"./{each.name}:/cluster/{each.name}:ro" for each in DEPLOY.glob("*.py")} <= {*node["volumes"]}
    assert "install -d -o 10005 -g 10005 -m 700 /nats" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_systemd_starts_a_node_and_its_watch_as_compose_does() -> None:
    unit = (DEPLOY / "neuroone-nats.service").read_text(encoding="utf-8")
    assert (
        "\nExecStartPre=/usr/bin/python3 /etc/neuroone/nats/healthcheck.py --wait\nTimeoutStartSec=infinity\n" in unit
    )
    watch = (DEPLOY / "neuroone-nats-watch.service").read_text(encoding="utf-8")
    assert "\nWorkingDirectory=/etc/neuroone/nats\n" in watch
    assert "healthcheck.py --watch /run/neuroone-nats/nats.pid\n" in watch


def test_the_recorders_share_the_streams_without_a_hole() -> None:
    shards = [each["environment"]["NEUROONE_SHARD"] for each in RECORDERS.values()]
    assert shards == [f"{number}/{len(RECORDERS)}" for number in range(1, len(RECORDERS) + 1)]
    assert len({each["volumes"][0] for each in RECORDERS.values()}) == len(RECORDERS)


@pytest.mark.parametrize("name", ["ws_gateway", *RECORDERS])
def test_a_service_knows_all_nodes_and_their_authority(name: str) -> None:
    environment = SERVICES[name]["environment"]
    identity = "ws_gateway" if name == "ws_gateway" else "csv_recorder"
    assert environment["NEUROONE_BROKER"] == f"file:/secrets/{identity}.url"
    assert environment["NEUROONE_BROKER_CA"] == f"/secrets/{cluster.AUTHORITY}"
    assert environment["NEUROONE_BROKER_SHUFFLE"] == "true"


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_restarted_has_a_health_check_and_few_rights(name: str) -> None:
    service = LASTING[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True


def test_its_settings_are_those_of_the_command() -> None:
    known = set(settings.variables(cluster.ClusterSettings))
    assert set(SERVICES["cluster"]["environment"]) <= known
    assert all(each.startswith(ENV_PREFIX) for each in known)


@pytest.mark.skipif(not shutil.which("docker"), reason="Docker is not installed on this machine")
@pytest.mark.parametrize("files", [("compose.yaml",), ("compose.yaml", "machines.yaml")])
def test_compose_accepts_the_files(files: tuple[str, ...]) -> None:
    words = [word for each in files for word in ("-f", str(DEPLOY / each))]
    command = ["docker", "compose", *words, "config", "--services"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(listed) == set(SERVICES)
