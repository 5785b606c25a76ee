"""Where a group goes on in a topic that may have been created anew since."""

from __future__ import annotations

from aiokafka.structs import OffsetAndMetadata

from streams.positions import goes_on_at, to_commit


def test_a_group_goes_on_at_what_it_committed_of_this_very_topic() -> None:
    """Of another topic of the same name it says nothing, wherever that one ended."""
    assert goes_on_at(to_commit(18, "one"), "one") == 18
    assert goes_on_at(to_commit(0, "one"), "one") == 0
    assert goes_on_at(to_commit(18, "one"), "another") is None


def test_an_offset_that_names_no_topic_counts() -> None:
    """An earlier version has committed it, or an operator, whose tool may have noted something of its own."""
    for note in ("", None, "moved by hand"):
        assert goes_on_at(OffsetAndMetadata(18, note), "one") == 18


def test_a_group_that_committed_nothing_goes_on_nowhere() -> None:
    """Kafka also says -1 for that."""
    assert goes_on_at(None, "one") is None
    assert goes_on_at(OffsetAndMetadata(-1, ""), "one") is None
