"""What is read off the topic of offers: the newest answer of each source, and what is not told yet."""

from msgspec.structs import replace

from controller.offers.log import ANSWERS_MAX, REQUESTS_MAX, OfferBook
from tests.unit.controller.core.made import NOW_MS
from tieline.offers import AskedProvider, OfferAnswer, OfferRequest

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
