"""Errors that are made here: plain HTTP in OpenAI's shape, which no SDK tries again."""

from tieline._request.reply import refusal
from tieline._routing.route import Reason, Shed


def test_refusals_are_plain_http() -> None:
    """What the table sheds is 429 with the table's reason, no pool is 503 with each pool's; both tell the SDK
    not to try again."""
    shed = refusal(Shed(Reason.SHED, "no capacity", 1_200))
    assert shed.status == 429
    assert (b"retry-after", b"2") in shed.headers
    assert b"no capacity" in shed.body
    no_pool = refusal(Shed(Reason.NO_POOL, "every pool is out", why=("a/r/x: auth",)))
    assert no_pool.status == 503
    assert b"a/r/x: auth" in no_pool.body
    for reply in (shed, no_pool):
        assert (b"x-should-retry", b"false") in reply.headers
