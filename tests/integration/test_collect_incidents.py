"""Six real incidents: their pages over real HTTP, real collectors, and what the core makes of the claims."""

from __future__ import annotations

import random

import msgspec
import pytest

from controller.core.orders.claims import claims_in_force
from controller.core.orders.in_force import NO_ORDERS
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Source
from streams.rows import Position, Row
from tests.integration.collecting import FeedServer, Served, Taken, rounds_of
from tests.integration.replayed import INCIDENTS, NOT_A_FEED, Moment, Told
from tests.unit.controller.collect.feeds.shapes import SHAPES
from tests.unit.controller.collect.feeds.truths import MINUTE_MS, Truth
from tests.unit.controller.core.made import policy, pool
from tieline.cloudevents import decode, encode
from tieline.events import Statement

HTML = Served(headers={"Content-Type": "text/html"}, body=b"<html>all services are up</html>")


def page(told: Told, moment: Moment, rng: random.Random) -> Served:
    """The answer of the page at a moment."""
    if isinstance(moment.ill, str):
        return HTML
    shape = SHAPES[told.shape]
    body = shape.write(Truth(moment.ill, now_ms=moment.at_ms), rng)
    media_type = "application/rss+xml" if body.startswith(b"<") else "application/json"
    return Served(headers={"Content-Type": media_type}, body=body)


def called_ill(told: Told, taken: Taken, now_ms: int) -> set[str]:
    """The pools that the core takes for ill by the last statement of each region and kind."""
    last: dict[tuple[str, str], Row] = {}
    for event in taken.events:
        assert isinstance(event, Statement)
        encoded = encode(event, time_ms=now_ms)
        arrived = decode(encoded.headers, encoded.value, encoded.key)
        assert isinstance(arrived, Statement)
        last[arrived.region, arrived.kind] = Row(
            arrived, Position("topic", 0, 0), append_ms=event.issued_ms, evidence_ms=event.issued_ms
        )
    pools = [msgspec.structs.replace(pool(name.rpartition("/")[0]), id=name) for name in told.pools]
    sources = (Source(told.feed.name, "status"),)
    compiled = compile_policy(policy(tuple(pools), sources=sources))
    claims = claims_in_force(compiled, tuple(last.values()), NO_ORDERS, now_ms)
    assert claims.withdrawn == {}, "a page's word takes nothing out"
    return {compiled.pools[index] for index in claims.ill}


@pytest.mark.parametrize("told", INCIDENTS, ids=lambda told: told.name)
async def test_an_incident_is_told_as_its_page_told_it(told: Told) -> None:
    """In the regions and for the models that it names, from its first word to its last; while the page
    can't be read, its last word counts until it expires, and never as all well."""
    rng = random.Random(told.name)
    now_ms = told.moments[0].at_ms
    async with FeedServer().listening() as server:
        feed = msgspec.structs.replace(told.feed, url=f"{server.url}/feed")
        async with rounds_of(feed, lambda: now_ms) as (rounds, fetcher, taken):
            for moment, after in zip(told.moments, (*told.moments[1:], None), strict=True):
                server.default = page(told, moment, rng)
                # Most of a long stretch is one round like another: its beginning and its end are enough.
                end_ms = after.at_ms if after else moment.at_ms + 10 * MINUTE_MS
                minutes = range((end_ms - moment.at_ms) // MINUTE_MS)
                for minute in (*minutes[:12], *minutes[12:][-12:]):
                    now_ms = moment.at_ms + minute * MINUTE_MS
                    await rounds.round(fetcher)
                    assert bool(rounds.trouble) == (moment.ill == NOT_A_FEED)
                    if minute == moment.after_min:
                        assert called_ill(told, taken, now_ms) == moment.pools, moment
    assert rounds.unread == 0
