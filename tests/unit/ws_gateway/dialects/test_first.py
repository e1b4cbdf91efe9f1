"""The first clients' dialect, frame by frame."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neuroone.contract.checks import replace
from neuroone.contract.messages import BANDS
from tests.support.messages import reading
from ws_gateway.dialects import first

GOLDEN = Path(__file__).parents[3] / "golden"


def golden(name: str) -> str:
    return (GOLDEN / f"ws_{name}.json").read_text(encoding="utf-8").removesuffix("\n")


def frame(**changes: object) -> bytes:
    return json.dumps({"Nome": "Ana", "Codigo": "5KXPVN", "Att": 1, **changes}).encode()


def test_the_seeds_student_frame_means_what_it_says():
    example = json.loads(golden("student"))
    understood = first.student_frame(example["sent"].encode())
    assert {"name": understood.name, "code": understood.code, **understood.values} == example["means"]


def test_a_dashboard_hears_the_seeds_bytes():
    """The dashboard's frame is byte for byte what the old server sent."""
    assert first.dashboard_frame(1, reading()) == golden("dashboard")


def test_a_listener_hears_the_seeds_ten_keys():
    """The ten-key frame is byte for byte what the old desktop program sent."""
    said = reading(low_beta=567890, high_beta=678901, low_gamma=789012, mid_gamma=890123)
    assert first.listener_frame(said) == golden("listener")


def test_an_error_is_a_json_object():
    """Old games parse every frame as JSON, so an error is an object too."""
    with pytest.raises(first.BadFrame) as caught:
        first.student_frame(frame(Att="85"))
    assert first.error_frame(caught.value) == golden("error")


def test_a_student_without_name_or_code_is_shown_with_null():
    shown = json.loads(first.dashboard_frame(7, reading(name=None, code=None)))
    assert shown == {"ID": 7, "Nome": None, "Codigo": None, "Att": 85, "Med": 72}


def test_accents_are_escaped_as_the_old_server_did():
    """A name outside ASCII goes out in JSON escapes, so the bytes are the old ones."""
    assert '"Jos\\u00e9"' in first.dashboard_frame(1, reading(name="José"))


@pytest.mark.parametrize("said", [b"dash", b'"dash"', b" dash\r\n", b'\t"dash" '])
def test_every_spelling_of_dash_makes_a_dashboard(said):
    assert first.is_dash(said)


@pytest.mark.parametrize("said", [b"DASH", b"dashboard", b"", b"{}", b'" dash "'])
def test_nothing_else_makes_a_dashboard(said):
    assert not first.is_dash(said)


def test_missing_numbers_count_as_zero():
    zeros = dict.fromkeys(("attention", "meditation", *BANDS), 0)
    assert first.student_frame(b'{"Nome":"Ana","Med":1}').values == {**zeros, "meditation": 1}


@pytest.mark.parametrize(
    "said",
    [b"{}", b'{"nome":"Ana","att":85}', b'{"event":"start"}', b'{"Nome":"Ana","Codigo":"A"}', b'{"type":"hello"}'],
)
def test_an_object_without_one_of_the_ten_numbers_is_no_reading(said):
    """Other programs' messages are answered, and not recorded as a student of zeros."""
    with pytest.raises(first.BadFrame) as caught:
        first.student_frame(said)
    assert (caught.value.code, caught.value.field) == ("bad_value", "")


@pytest.mark.parametrize("name", first.VALUES)
def test_one_of_the_ten_numbers_is_enough(name):
    assert first.student_frame(json.dumps({name: 0}).encode()).is_blank


@pytest.mark.parametrize(
    ("code", "text"),
    [("5KXPVN", "5KXPVN"), (42, "42"), (4.5, "4.5"), (10**30 + 1, "1" + 29 * "0" + "1"), ("", None), (None, None)],
)
def test_a_code_is_text_or_the_text_of_a_number(code, text):
    """An empty code counts as missing."""
    assert first.student_frame(frame(Codigo=code)).code == text


def test_a_deeply_nested_frame_with_a_fractional_code_is_bad_json():
    with pytest.raises(first.BadFrame) as caught:
        first.student_frame(b'{"Codigo":1.5,"x":' + b"[" * 1010 + b"]" * 1010 + b"}")
    assert caught.value.code == "bad_json"


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
"""Lone surrogates too."""


@given(
    st.dictionaries(
        st.sampled_from(["Nome", "Codigo", *first.VALUES, "x"]),
        st.none() | st.booleans() | st.integers() | st.integers(0, 100) | st.floats() | ANY_TEXT,
    )
)
@example({"Nome": "\ud800x", "Att": 101})
@example({"Nome": "n" * 8192, "Codigo": 10**4000, "Att": 100, "Delta": 2**24 - 1})
def test_what_is_accepted_makes_a_valid_reading(given_frame):
    """The gateway makes it a reading without checking it once more."""
    with contextlib.suppress(first.BadFrame):
        student = first.student_frame(json.dumps(given_frame).encode())
        assert replace(reading(), name=student.name, code=student.code, **student.values).attention <= 100


def test_a_missing_code_is_none():
    assert first.student_frame(b'{"Att":1}').code is None


@pytest.mark.parametrize(("name", "text"), [("Zoë 北", "Zoë 北"), ("", None), (None, None), ("\ud800x", "\ufffdx")])
def test_a_name_is_any_text_without_lone_surrogates(name, text):
    """UTF-8 has no lone surrogates: one becomes the replacement character."""
    assert first.student_frame(frame(Nome=name)).name == text


def test_a_whole_float_is_a_whole_number():
    """Some languages write every number as 85.0."""
    assert first.student_frame(frame(Att=85.0, Delta=1e6)).values["attention"] == 85


@pytest.mark.parametrize("field", first.VALUES)
@pytest.mark.parametrize("value", [True, None, "1", 1.5, -1, 2**24, 1e400, [], {}])
def test_an_error_names_the_field_as_the_client_spells_it(field, value):
    with pytest.raises(first.BadFrame) as caught:
        first.student_frame(frame(**{field: value}))
    expected = "" if value == 1e400 else field  # json.dumps writes Infinity, which is no JSON
    assert caught.value.field == expected


@pytest.mark.parametrize("field", ["Nome", "Codigo"])
@pytest.mark.parametrize("value", [True, [], {}])
def test_a_name_or_code_of_a_wrong_type_is_an_error(field, value):
    with pytest.raises(first.BadFrame) as caught:
        first.student_frame(frame(**{field: value}))
    assert (caught.value.code, caught.value.field) == ("bad_value", field)


@pytest.mark.parametrize(
    "said",
    [b"", b"x", b"[]", b"1", b"null", b'"text"', b'{"Att":NaN}', b'{"Att":1', b"\xff\xfe", b"[" * 8000, b"9" * 8000],
)
def test_anything_but_a_json_object_is_an_error(said):
    with pytest.raises(first.BadFrame) as caught:
        first.student_frame(said)
    assert (caught.value.code, caught.value.field) == ("bad_json", "")


ALL_KEYS = json.loads(golden("student"))["sent"]


@given(
    st.sampled_from(("Nome", "Codigo", *first.VALUES)),
    st.none() | st.booleans() | st.floats() | st.integers(-2, 2**24 + 1) | st.integers() | st.text() | st.just([]),
)
def test_a_frame_of_the_app_means_the_same_as_one_with_a_key_more(name, value):
    """The app's twelve keys are read in a faster way."""

    def meaning(given: dict[str, object]) -> object:
        try:
            understood = first.student_frame(json.dumps(given).encode())
        except first.BadFrame as fault:
            return fault.code, fault.field, fault.message
        return understood.name, understood.code, understood.values

    frame = {**json.loads(ALL_KEYS), name: value}
    assert meaning(frame) == meaning({**frame, "more": 1})


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(
        lambda value: json.dumps({"Nome": value, "Codigo": value, "Att": value}).encode()
    )
)
def test_any_bytes_are_a_frame_or_a_bad_frame(said):
    """The text of a frame is UTF-8, and its numbers are in range."""
    try:
        understood = first.student_frame(said)
    except first.BadFrame:
        return
    reading(name=understood.name, code=understood.code, **understood.values)
