"""Which dead letters are a producer's own: those of records with its source and incarnation, no others."""

from collections import OrderedDict

import pytest
from msgspec.structs import replace

from streams.deadletter import DeadLetter, fitting
from tests.unit.streams.made import capacity, demand, observation, record, report, statement
from tieline._sending.own_letters import Author, OwnLetter, OwnLetters, author_of, own_letter
from tieline.cloudevents import MSGPACK, Poison, Rejection, encode
from tieline.events import Event

NOW_MS = 1_790_000_000_000
MINE: OrderedDict[Author, None] = OrderedDict([(Author("/tieline/probe-1", "one"), None)])
PLACE = "pool azure/eu/a is not in the policy"


def letter_of(event: Event) -> OwnLetter | None:
    """What a producer that is the author ``MINE`` makes of the letter with this event."""
    poison = Poison(Rejection.UNKNOWN_POOL, PLACE)
    letter = fitting(DeadLetter(record(event, "tieline.reports"), poison))
    return own_letter(letter.headers, MINE)


def test_a_letter_of_ones_own_says_reason_and_place() -> None:
    """As ingestion wrote them."""
    assert letter_of(report(7, observation())) == OwnLetter("one-7-azure/eu", "unknown_pool", PLACE)


@pytest.mark.parametrize(
    "event",
    [
        replace(report(7), incarnation="one-2"),
        replace(report(7), incarnation="on"),
        replace(report(7), source="probe-2"),
        replace(demand(), client="probe-1"),
    ],
)
def test_letters_of_others_are_none_of_ones_own(event: Event) -> None:
    """Also when their names begin with one's own, and those of clients, which nobody reads."""
    assert letter_of(event) is None


@pytest.mark.parametrize("event", [report(3), statement(3), capacity(3)])
def test_the_author_of_a_record_is_in_its_headers(event: Event) -> None:
    """Whatever dashes source, incarnation and key have."""
    event = replace(event, source="a-b-1", incarnation="c-2-d")
    headers = encode(event, time_ms=NOW_MS, content_type=MSGPACK).headers
    assert author_of(headers) == Author("/tieline/a-b-1", "c-2-d")


def test_a_note_of_an_operator_is_no_letter() -> None:
    """It has no reason."""
    assert own_letter(encode(report(1), time_ms=NOW_MS).headers, MINE) is None


class GrowingLog:
    """A log that takes a letter after each question about it; none is older than what is asked for."""

    def __init__(self) -> None:
        self.letters = 3

    async def end_offsets(self, partitions: list[str]) -> dict[str, int]:
        """As of aiokafka's consumer."""
        self.letters += 1
        return dict.fromkeys(partitions, self.letters - 1)

    async def offsets_for_times(self, times: dict[str, int]) -> dict[str, None]:
        """As of aiokafka's consumer: no letter is that new."""
        self.letters += 1
        return dict.fromkeys(times)


async def test_a_letter_that_arrives_while_the_beginning_is_looked_for_is_read() -> None:
    """The end is asked before the time, so what arrives between the two lies behind where reading begins."""
    letters = OwnLetters("localhost:9092", "letters", on_letter=lambda letter: None)
    assert await letters._begin(GrowingLog(), "letters/0") == 3
