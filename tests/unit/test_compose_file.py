"""What compose.yaml promises of every service: a check of its health, an image that is pinned, few rights."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
LASTING = [name for name, service in SERVICES.items() if service["restart"] != "no"]


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_restarted_and_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_built_for_two_platforms_or_pinned_by_its_version(name: str) -> None:
    """A registry, a version, a digest or a mirror is a setting."""
    service = SERVICES[name]
    if "build" not in service:
        assert re.fullmatch(r"\$\{NEUROONE_\w+_IMAGE:-[\w/-]+:v?\d+\.\d+\.\d+[\w.-]*\}", service["image"])
        return
    program = service["build"]["args"]["SERVICE"]
    assert service["image"] == f"${{NEUROONE_REGISTRY:-}}neuroone-{program}:${{NEUROONE_TAG:-local}}"
    assert service["build"]["x-bake"] == {"platforms": ["linux/amd64", "linux/arm64"]}
    base = re.fullmatch(r"\$\{NEUROONE_PYTHON_IMAGE:-(.*)\}", service["build"]["args"]["PYTHON_IMAGE"])
    assert base
    assert f"ARG PYTHON_IMAGE={base[1]}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_bridge_may_open_serial_ports_that_come_later_and_nothing_else() -> None:
    service = SERVICES["serial_bridge"]
    assert "devices" not in service
    assert "privileged" not in service
    assert "/dev:/dev:ro" in service["volumes"]
    assert {rule.split(":")[0] for rule in service["device_cgroup_rules"]} == {
        "c 188",
        "c 166",
        "c 216",
        "c 204",
        "c 4",
    }
    assert (service["user"], service["cap_drop"]) == ("10003:10003", ["ALL"])


def test_each_service_of_ours_writes_down_its_runs_and_the_doctor_may_only_read_them() -> None:
    ours = {name for name in LASTING if "build" in SERVICES[name]} - {"class_metrics"} | {"check_settings"}
    for name in ours:
        assert "status:/status" in SERVICES[name]["volumes"]
        assert "/status" in str(SERVICES[name]["environment"])
    doctor = SERVICES["doctor"]
    assert {"status:/status:ro", "broker:/broker:ro"} <= set(doctor["volumes"])
    assert "docker.sock" not in str(SERVICES)


@pytest.mark.skipif(not shutil.which("docker"), reason="Docker is not installed on this machine")
@pytest.mark.parametrize(
    ("profile", "services"), [("grafana", {"class_metrics", "prometheus", "grafana"}), ("district", {"forwarder"})]
)
def test_compose_accepts_a_profile(profile: str, services: set[str]) -> None:
    command = ["docker", "compose", "--profile", profile, "config", "--services"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert services <= set(listed)


def test_the_forwarder_has_its_login_a_spool_of_its_own_and_a_way_out() -> None:
    service = SERVICES["forwarder"]
    assert "forwarder=10001" in SERVICES["secrets"]["environment"]["NEUROONE_OWNER"]
    assert "user" not in service  # that of the image, which owns /data
    assert "spool:/data" in service["volumes"]
    assert service["environment"]["NEUROONE_SPOOL"] == "/data"
    assert service["networks"] == ["inside", "outside"]


def test_recorders_that_share_the_work_have_all_shards_and_a_directory_each() -> None:
    shards = yaml.safe_load((ROOT / "compose.shards.yaml").read_text(encoding="utf-8"))["services"]
    for number, service in enumerate(shards.values(), 1):
        assert service["environment"] == {
            "NEUROONE_INSTANCE": "",
            "NEUROONE_SHARD": f"{number}/{len(shards)}",
            "NEUROONE_DIR": f"/data/shard-{number}",
        }
        assert service.get("extends", {"service": "csv_recorder"})["service"] == "csv_recorder"
    assert next(iter(shards)) == "csv_recorder"
    assert SERVICES["ws_gateway"]["environment"]["NEUROONE_RECORDINGS"] == "/data"
