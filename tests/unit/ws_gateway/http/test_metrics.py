"""What the gateway shows to Prometheus."""

import ast
from pathlib import Path

import ws_gateway
from neuroone.service.lifecycle import Stop
from neuroone.service.metrics import Metrics
from tests.support.scrapes import checked
from ws_gateway.dialects.handlers import REFUSALS
from ws_gateway.http.metrics import COUNTERS, GAUGES
from ws_gateway.service import Service
from ws_gateway.settings import Settings

OLD_NAMES = (
    *("acked", "callback_errors", "clients_accepted", "clients_evicted", "clients_refused", "connects", "delivered"),
    *("delivered_bad", "dropped", "dropped_qos0", "dropped_too_large", "faults", "frames_bad", "frames_conflated"),
    *("frames_received", "given_up", "kept_overflowed", "published", "readings", "readings_coalesced"),
    *("readings_refused", "readings_repeated", "refused", "replayed", "students_joined", "subscriptions_refused"),
)
"""Counters of the first version of the page."""


def page() -> str:
    (site,) = Service(Settings(), Stop()).sites
    return Metrics(site.client.identity, lambda: True, site.metrics).page().decode()


def test_the_page_follows_the_conventions_of_prometheus():
    names = {metric.name for metric in checked(page())}
    assert names >= {
        "neuroone_build_info",
        "neuroone_broker_connected",
        "neuroone_gateway_event_loop_lag_seconds",
        "neuroone_gateway_ack_latency_seconds",
        "neuroone_gateway_refusals",
    }


def test_everything_that_is_counted_has_a_help_text():
    (site,) = Service(Settings(), Stop()).sites
    report = site.health()
    assert {*site.client.counters, *report.counters} == set(COUNTERS)
    assert {*site.client.session.publications.gauges(), *report.gauges} - {"kept_overflowed"} == set(GAUGES)


def test_the_names_of_the_first_version_are_still_there():
    lines = page().splitlines()
    for name in OLD_NAMES:
        assert f"neuroone_gateway_{name}_total 0.0" in lines
    for name in ("clients", "students", "dashboards", "kept", "kept_bytes", "outbox"):
        assert f"neuroone_gateway_{name} 0.0" in lines


def test_every_reason_of_a_refusal_is_shown_from_the_start():
    """Prometheus sees the first refusal only if it saw a 0 before."""
    lines = page().splitlines()
    for reason in REFUSALS:
        assert f'neuroone_gateway_refusals_total{{reason="{reason}"}} 0.0' in lines
    assert set(REFUSALS) >= _codes_of_errors()


def _codes_of_errors() -> set[str]:
    """Return the code of every BadFrame and NotAllowed that the gateway raises."""
    files = Path(ws_gateway.__path__[0]).rglob("*.py")
    calls = [
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("BadFrame", "NotAllowed")
    ]
    codes = {node.args[0].value for node in calls if isinstance(node.args[0], ast.Constant)}
    assert len(codes) > 5
    return {code for code in codes if isinstance(code, str)}
