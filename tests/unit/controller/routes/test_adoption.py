"""An operator's word that one lineage follows another."""

from __future__ import annotations

from controller.routes.adoption import Adoption, adopted_from, encode_adoption

WORD = encode_adoption(Adoption("new", ("oldest", "old"), 1, actor="eve", reason="Kafka was lost"))


def test_only_the_lineages_that_are_named_are_followed() -> None:
    """Ours must be the one that was adopted, and Redis must hold one of its parents."""
    adoption = adopted_from(WORD, "new", "old")
    assert adoption is not None
    assert adoption.parents == ("oldest", "old")
    assert adopted_from(WORD, "new", "oldest") is not None
    assert adopted_from(WORD, "new", "another") is None
    assert adopted_from(WORD, "another", "old") is None


def test_no_word_and_rubbish_adopt_nothing() -> None:
    """Neither an absent value nor one that can't be read."""
    for data in (None, b"", b"{}", b"\xff", WORD[:-1]):
        assert adopted_from(data, "new", "old") is None
