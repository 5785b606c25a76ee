"""How requests for capacity are shown and answered at the terminal."""

import argparse
from io import StringIO

import pytest
from rich.console import Console

from controller.cli.arguments import Arguments
from controller.cli.give_order import check_policy
from controller.cli.offers import add_parser, answer_of, draw, draw_one, request_named
from controller.core.model.memory import Memory
from controller.core.policy.policy import encode_policy
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.routes.record import RoutesRecord
from tests.unit.controller.core.made import NOW_MS
from tests.unit.controller.core.offers.asking import MINUTE_MS, Flowing, answer, asking_policy, given
from tieline.offers import OfferRequest
from tieline.table import Generation


def parsed(*words: str) -> argparse.Namespace:
    """What was typed after `tieline offers`."""
    parser = Arguments(prog="tieline")
    add_parser(parser.add_subparsers(dest="command"))
    return parser.parse_args(["offers", *words])


def typed(*words: str) -> argparse.Namespace:
    return parsed(*words, "--reason", "they called", "--actor", "kim")


def asked(*, accepted: bool = False) -> OfferRequest:
    """A request that azure was asked."""
    flowing = Flowing()
    flowing.at(0)
    flowing.at(2)
    if accepted:
        flowing.at(3, answers=[answer(flowing.only, "azure", given(until=60))])
    return flowing.only


def shown(*requests: OfferRequest, is_asking: bool = True) -> str:
    console = Console(file=StringIO(), width=200)
    draw(requests, NOW_MS + 4 * MINUTE_MS, "tokens", console, is_asking=is_asking)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_an_answer_is_an_order() -> None:
    """Of one pool to accept, of a provider to decline. What is not said is as the request asks."""
    order = answer_of(typed("accept", "eu-1", "azure/a/d", "--units", "500"), NOW_MS)
    assert (order.verb, order.scope, order.offer, order.actor) == ("accept", "azure/a/d", "eu-1", "kim")
    assert order.offered is not None
    assert (order.offered.units_per_s, order.offered.from_ms, order.offered.until_ms) == (500, None, None)
    assert order.expires_ms == NOW_MS + 3_600_000
    order = answer_of(
        typed("accept", "eu-1", "azure/a/d", "--units", "5", "--from", "+2h", "--to", "+2d", "--price", "2"),
        NOW_MS,
    )
    assert order.offered is not None
    assert order.offered.from_ms == NOW_MS + 7_200_000
    assert order.offered.until_ms == NOW_MS + 172_800_000
    assert order.offered.price_per_million_units == 2
    assert answer_of(typed("decline", "eu-1", "azure"), NOW_MS).offered is None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("decline", "eu-1", "azure/a/d"), "decline needs a provider as its scope"),
        (("accept", "eu-1", "azure/a/d", "--units", "0"), "must be above 0"),
        (("accept", "eu-1", "azure", "--units", "5"), "not valid"),
    ],
)
def test_a_mistake_is_told_before_anything_is_reached(words: tuple[str, ...], why: str) -> None:
    """In the words of the contract."""
    with pytest.raises(UserError, match=why):
        answer_of(typed(*words), NOW_MS)


def test_an_answer_that_would_not_count_is_not_sent() -> None:
    """It names why, or the request that was perhaps meant."""
    request = asked()
    memory = Memory(offers=(request,))
    generation = Generation("test", 0, 1)
    record = RoutesRecord(generation, NOW_MS, memory=memory, policy=encode_policy(asking_policy()))
    check_policy(answer_of(typed("decline", request.id, "azure"), now_ms()), record)
    with pytest.raises(UserError, match="would not count: gcp is not asked, as azure has the first refusal"):
        check_policy(answer_of(typed("decline", request.id, "gcp"), now_ms()), record)
    with pytest.raises(UserError, match=f"no request 'eu-1'; did you mean|known: {request.id}"):
        check_policy(answer_of(typed("decline", "eu-1", "azure"), now_ms()), record)


def test_the_list_says_who_was_asked_and_what_was_accepted() -> None:
    """And without rules in the policy, that nobody is asked."""
    text = shown(asked(accepted=True))
    assert "azure accepted, by liaison" in text
    assert "100 tokens/s more on azure/a/d, counting, for 56 min, by liaison" in text
    assert "azure has 8 min to answer" in shown(asked())
    assert "has no `offers`" in shown(is_asking=False)
    assert "no request is open" in shown()


def test_one_request_is_shown_whole() -> None:
    """With its cause and every instant."""
    console = Console(file=StringIO(), width=200)
    request = asked(accepted=True)
    draw_one(request_named(request.id, (request,)), NOW_MS, "tokens", console)
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "as critical load would have no room after one loss" in text
    assert "deadline 2027-01-15 08:12:00 UTC" in text
    with pytest.raises(UserError, match="there is no request 'x'"):
        request_named("x", (request,))
