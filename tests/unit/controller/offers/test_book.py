"""What is read off the topic of offers: the newest answer of each source, and what is not told yet."""

from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from controller.offers.log import ANSWERS_MAX, REQUESTS_MAX, OfferBook, event_of
from tests.unit.controller.core.made import NOW_MS
from tieline.cloudevents import Encoded, Poison, Rejection, encode
from tieline.offers import AskedProvider, OfferAnswer, OfferRequest
from tieline.order_signing import encode_public_key
from tieline.registration import Registry, SourceRule
from tieline.signatures import sign_event

REQUEST = OfferRequest(
    id="eu-1",
    geographies=("eu",),
    workloads=("chat",),
    cause="shed",
    units_per_s=100.0,
    from_ms=NOW_MS,
    until_ms=NOW_MS + 1,
    issued_ms=NOW_MS,
    state="holder",
    providers=(AskedProvider("azure", NOW_MS, NOW_MS + 5),),
)
OTHERS = replace(REQUEST, state="others")


def answer(number: int = 1, *, offer: str = "eu-1", source: str = "liaison") -> OfferAnswer:
    """A refusal."""
    return OfferAnswer(source, "azure", offer, "one", number, NOW_MS)


def test_the_newest_answer_of_each_source_counts() -> None:
    """In the order in which they were read."""
    book = OfferBook()
    for offset, event in enumerate((answer(1), answer(2, source="other"), answer(3))):
        book.take(event, offset, NOW_MS + offset)
    found = book.answers_to([REQUEST])
    assert [(item.answer.sequence, item.append_ms) for item in found] == [(2, NOW_MS + 1), (3, NOW_MS + 2)]
    assert book.answers_read == 3


def test_only_answers_to_open_requests_are_part_of_a_decision() -> None:
    """Others change nothing, and would be recorded with each."""
    book = OfferBook()
    book.take(answer(), 0, NOW_MS)
    assert book.answers_to([replace(REQUEST, state="unmet")]) == ()
    assert book.answers_to([replace(REQUEST, id="us-1")]) == book.answers_to([]) == ()


def test_a_request_is_told_once_and_again_when_it_changes() -> None:
    """Whoever wrote the record: a take-over repeats nothing."""
    book = OfferBook()
    assert book.untold([REQUEST]) == [REQUEST]
    book.take(REQUEST, 0, NOW_MS)
    assert book.untold([REQUEST]) == []
    assert book.untold([OTHERS]) == [OTHERS]


def test_a_record_that_was_read_late_does_not_undo_a_later_one() -> None:
    """What this process wrote is known before it is read back."""
    book = OfferBook()
    book.note(OTHERS, 1)
    book.take(REQUEST, 0, NOW_MS)
    assert book.untold([OTHERS]) == []
    book.take(REQUEST, 2, NOW_MS)  # a deposed leader wrote behind this one
    assert book.untold([OTHERS]) == [OTHERS]


def test_what_is_no_offer_is_passed_over_and_the_book_is_bounded() -> None:
    """The oldest go, whoever sends many."""
    book = OfferBook()
    book.take(None, 0, NOW_MS)
    for number in range(ANSWERS_MAX + 1):
        book.take(answer(number, source=f"s{number}"), number, NOW_MS)
    assert len(book.answers) == ANSWERS_MAX
    assert ("eu-1", "azure", "s0") not in book.answers
    for number in range(REQUESTS_MAX + 1):
        book.take(replace(REQUEST, id=f"eu-{number}"), number, NOW_MS)
    assert len(book.requests) == REQUESTS_MAX
    assert "eu-0" not in book.requests


def test_a_copy_of_an_older_answer_does_not_undo_a_newer_one() -> None:
    """By its sequence, and by the time of its issue where the source has started again since."""
    book = OfferBook()
    newer = replace(answer(1), incarnation="two", issued_ms=NOW_MS + 5)
    for offset, event in enumerate((answer(2), answer(1), answer(2), newer, answer(3), newer)):
        book.take(event, offset, NOW_MS + offset)
    (taken,) = book.answers_to([REQUEST])
    assert (taken.answer, taken.append_ms) == (newer, NOW_MS + 3)
    assert book.answers_read == 2


PRIVATE, STRANGER = (Ed25519PrivateKey.from_private_bytes(mark * 32) for mark in (b"a", b"c"))
LINE = encode_public_key(PRIVATE.public_key().public_bytes_raw())
BOUND = Registry(
    frozenset({"azure"}),
    {"liaison": SourceRule("fleet", public_keys=(LINE,)), "other": SourceRule("fleet")},
    frozenset(),
)


def record(
    event: OfferAnswer | OfferRequest, private: Ed25519PrivateKey | None = None, topic: str = "t"
) -> Any:
    """As it lies on the topic ``t``, perhaps with a signature for ``topic``."""
    encoded: Encoded = encode(event, time_ms=NOW_MS)
    headers = [*encoded.headers]
    if private is not None:
        headers.append(sign_event(private, topic, encoded))
    return ConsumerRecord(
        "t",
        0,
        0,
        timestamp=NOW_MS,
        timestamp_type=1,
        key=encoded.key,
        value=encoded.value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=tuple(headers),
    )


def test_an_answer_of_a_source_that_the_policy_binds_to_a_key_must_be_signed() -> None:
    """Without a signature, with a stranger's, and with one for another topic it is refused; so nobody accepts
    or declines capacity in another's name. A source without keys needs no signature, nor does a request."""
    assert event_of(record(answer(), PRIVATE), BOUND) == answer()
    assert event_of(record(answer(source="other")), BOUND) == answer(source="other")
    assert event_of(record(REQUEST), BOUND) == REQUEST
    for wrong in (record(answer()), record(answer(), STRANGER), record(answer(), PRIVATE, "u")):
        with pytest.raises(Poison, match="source liaison must sign its events") as refused:
            event_of(wrong, BOUND)
        assert refused.value.reason is Rejection.BAD_SIGNATURE
