"""Topics and ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroone.contract import topics
from neuroone.contract.errors import BadTopic

ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@pytest.mark.parametrize("rule", topics.TOPICS, ids=lambda rule: rule.shape)
@given(sample=st.data())
def test_parse_is_the_exact_inverse_of_str(rule: topics.TopicRule, sample: st.DataObject) -> None:
    """Every topic can be taken apart again."""
    made = topics.Topic(sample.draw(ids), rule, tuple(sample.draw(ids) for _ in range(rule.shape.count("{"))))
    assert topics.parse(str(made)) == made


@given(st.text())
def test_any_text_is_a_topic_or_a_bad_topic(text: str) -> None:
    """Nothing but BadTopic comes out of a strange topic."""
    with pytest.raises(BadTopic):
        topics.parse(text)


@given(st.text())
def test_any_text_makes_an_id_and_an_id_stays(text: str) -> None:
    """What comes out is an id, always the same one, and an id is its own id."""
    made = topics.id_from_text(text)
    assert topics.is_id(made)
    assert topics.id_from_text(text) == made
    assert topics.id_from_text(made) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Joao_Silva", "Joao_Silva"),
        ("João Silva", "Joao-Silva-052b78"),
        ("joão silva", "joao-silva-068bc9"),
        ("../../etc/passwd", "etc-passwd-3754d6"),
        ("neuroone/v1/#", "neuroone-v1-982fe1"),
        ("", "x-e3b0c4"),
        ("山田", "x-5f34cd"),
        ("a" * 65, "a" * 57 + "-635361"),
        ("_all", "_all-497cfc"),
        ("_All", "_All"),
    ],
)
def test_ids_of_names(text: str, made: str) -> None:
    """The spelling of an id is a promise: files and third parties hold on to it."""
    assert topics.id_from_text(text) == made


@given(st.text() | st.sampled_from(["_all", "-_all", "_all ", "_all\u0301"]))
def test_no_text_is_made_into_the_group_of_everybody(text: str) -> None:
    assert topics.id_from_text(text) != topics.ALL
    assert topics.group_id(text) != topics.ALL
    assert topics.parse(str(topics.event("local", topics.ALL)))["group"] == topics.ALL


def test_different_names_have_different_ids() -> None:
    """Accents, case and trailing spaces do not make two students one."""
    names = ["José", "Jose", "JOSÉ", "José ", "Jose\u0301", "Jose?", "Jose!"]
    assert len({topics.id_from_text(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    "topic",
    [
        "neuroone/v1/local/streams/g/s/reading/x",
        "neuroone/v1/local/streams/g/+/reading",
        "neuroone/v1/local/streams/g/" + "s" * 65 + "/raw",
        "neuroone/v1/local/services/ws_gateway/a/recorded",
        "neuroone/v1//streams/g/s/reading",
        "neuroone/v1/local/streams/g/s/reading\n",
    ],
)
def test_topics_that_are_none(topic: str) -> None:
    """Near misses are refused."""
    with pytest.raises(BadTopic):
        topics.parse(topic)


def test_filters() -> None:
    """A filter has a + for every id that is not given."""
    assert topics.every(topics.READING, "local") == "neuroone/v1/local/streams/+/+/reading"
    assert topics.every(topics.READING, "local", group="A") == "neuroone/v1/local/streams/A/+/reading"


def test_a_source_without_a_code_has_a_group() -> None:
    """No Codigo, an empty one and a real one."""
    assert topics.group_id(None) == topics.group_id("") == topics.NO_GROUP
    assert topics.group_id("ABC123") == "ABC123"
