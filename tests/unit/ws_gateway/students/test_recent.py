"""What was sent a moment ago."""

from tests.support.messages import reading
from ws_gateway.students.recent import Recent


def test_a_reading_comes_back_once():
    """The second copy of a payload is decoded like any other."""
    recent = Recent()
    recent.put(b"a", reading())
    assert recent.pop(b"a") == reading()
    assert recent.pop(b"a") is None


def test_the_oldest_is_forgotten_first():
    """Readings that never come back do not pile up."""
    recent = Recent(most=2)
    for seq in range(3):
        recent.put(b"%d" % seq, reading(seq=seq))
    assert (recent.pop(b"0"), recent.pop(b"2")) == (None, reading(seq=2))
