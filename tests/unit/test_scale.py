"""docs/scale.md says what was measured, and its model finds costs and holds where it was not fitted."""

from collections.abc import Iterator

import pytest

from bench.scale_model import TERMS, WITHIN, Point, Setup, Use, errors, fit, site
from bench.scale_tables import DOCUMENTS, Tables, filled, load
from neuroone.up.brokers import MOSQUITTO, NATS

COST_US = {"process": 20_000.0, "student": 3.0, "reading": 60.0, "delivered": 20.0, "shown": 8.0}


def made_points() -> Iterator[Point]:
    """Make points of gateways whose costs are known."""
    terms = TERMS["gateways cpu"]
    sizes = [(500, 1, 1), (3000, 1, 1), (2000, 4, 1), (1000, 2, 5)]
    setups = [Setup(broker=NATS, students=s, gateways=g, dashboards=d) for s, g, d in sizes]
    for setup in [*setups, Setup(broker=MOSQUITTO, students=3000, period_s=2.0)]:
        total = sum(cost * terms[term](setup) for term, cost in COST_US.items())
        values = {"gateways cpu": total / setup.rate}
        yield Point(setup=setup, values=values, latency_ms={}, faults=[])


def test_the_model_finds_the_costs_that_points_are_made_of() -> None:
    found = fit([*made_points()]).coefficients[MOSQUITTO, "gateways cpu"]
    assert found == pytest.approx(COST_US, rel=1e-6)


def test_a_recorder_appends_to_its_files_in_turns_that_depend_on_its_students() -> None:
    appends = [Setup(broker=NATS, students=students).appended for students in (400, 1000, 5000)]
    assert appends == [800, 1000, 2000]  # every 1, 2 and 5 s
    assert Setup(broker=NATS, students=5000, recorders=5).appended == 5000


def test_no_number_of_gateways_is_enough_where_the_readings_of_others_fill_one() -> None:
    model = fit(load())
    assert site(model, MOSQUITTO, 500) is not None
    assert site(model, MOSQUITTO, 100_000) is None


def test_the_model_holds_where_it_was_not_fitted() -> None:
    points = load()
    held_out = [point for point in points if point.setup.use is Use.HELD_OUT and not point.faults]
    assert {point.setup.broker for point in held_out} == {MOSQUITTO, NATS}
    assert all(point.setup.gateways + point.setup.recorders > 2 for point in held_out)
    off = [(p.setup, q, m, said) for p, q, m, said in errors(fit(points), points) if abs(said / m - 1) > WITHIN]
    assert off == []


@pytest.mark.parametrize("language", DOCUMENTS)
def test_the_tables_are_those_of_the_points(language: str) -> None:
    text = DOCUMENTS[language].read_text(encoding="utf-8")
    again = "print them again: python3 run.py exec python -m bench.scale_tables"
    assert filled(text, Tables(load(), language).all()) == text, again
