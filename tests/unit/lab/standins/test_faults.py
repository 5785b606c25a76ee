"""Faults: what an order may contain, and which requests it strikes."""

import pytest

from lab.standins.faults import ACTIVE_MAX, Arrival, FaultBook, FaultError, FaultOrder, parse_order

POOLS = frozenset({"azure/uksouth/a", "azure/uksouth/b"})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"kind": "meteor"}', "Invalid enum value 'meteor'"),
        (b'{"kind": "hang", "pool": "a"}', "unknown field `pool`"),
        (b'{"kind": "hang", "share": 0}', "`$.share`"),
        (b'{"kind": "hang", "share": 1.5}', "`$.share`"),
        (b'{"kind": "hang", "delay_ms": 5}', "delay_ms has no meaning for fault hang"),
        (b'{"kind": "slow_first_token"}', "needs delay_ms"),
        (b'{"kind": "refuse", "share": 0.5}', "no share"),
        (b'{"kind": "refuse", "word": "x"}', "no share"),
        (b'{"kind": "status"}', "needs status"),
        (b'{"kind": "status", "status": 200}', "`$.status`"),
        (b'{"kind": "503", "status": 500}', "status has no meaning for fault 503"),
        (b'{"kind": "burst"}', "needs requests_per_s"),
        (b'{"kind": "body"}', "needs content"),
        (b'{"kind": "dialect"}', "needs dialect"),
        (b'{"kind": "status", "status": 429, "headers": {"a": "b\\r\\nc: d"}}', "headers"),
        (b'{"kind": "503", "pools": ["azure/uksouth/c"]}', "azure/uksouth/c is not served here"),
        (b"nonsense", "The fault order is wrong"),
    ],
)
def test_a_wrong_order_is_refused_with_its_reason(body: bytes, says: str) -> None:
    """Nothing unknown, contradictory or out of range is carried out, and the message names it."""
    with pytest.raises(FaultError, match=says.replace("$", r"\$")):
        parse_order(body, POOLS)


def test_a_share_strikes_that_share_and_always_the_same() -> None:
    """A fault ordered for 30 % strikes 30 % of the requests, and the same ones after a restart."""
    book, again = FaultBook(seed=1), FaultBook(seed=1)
    for one in (book, again):
        one.add(FaultOrder(kind="503", share=0.3))
    struck = [str(key) for key in range(5_000) if book.meets(Arrival("p", "m", str(key)))]
    assert 0.27 < len(struck) / 5_000 < 0.33
    assert all(again.meets(Arrival("p", "m", key)) for key in struck)


def test_pool_and_model_limit_a_fault() -> None:
    """A fault strikes only the pools and the model it names."""
    book = FaultBook(seed=1)
    book.add(FaultOrder(kind="400", pools=("azure/uksouth/a",), model="big"))
    met = [book.meets(Arrival(pool, model, "k")) for pool in sorted(POOLS) for model in ("big", "small")]
    assert [order is not None for order in met] == [True, False, False, False]


def test_path_and_word_limit_a_fault() -> None:
    """A fault strikes only requests whose path ends as it says and whose body contains its word."""
    book = FaultBook(seed=1)
    book.add(FaultOrder(kind="status", status=403, path="/embeddings", word="forbidden"))
    arrivals = [
        Arrival("p", "m", "k", path=path, body=body)
        for path in ("/v1/embeddings", "/v1/responses")
        for body in (b'{"input": "forbidden"}', b'{"input": "a word"}')
    ]
    assert [book.meets(arrival) is not None for arrival in arrivals] == [True, False, False, False]


def test_the_first_ordered_fault_that_fits_wins() -> None:
    """Of two faults on one pool the earlier strikes; once it is cleared, the later does."""
    book = FaultBook(seed=1)
    first, _ = book.add(FaultOrder(kind="hang")), book.add(FaultOrder(kind="reset"))
    assert (order := book.meets(Arrival("p", "m", "k"))) is not None
    assert order.kind == "hang"
    assert book.clear(fault_id=first.id) == (first,)
    assert (order := book.meets(Arrival("p", "m", "k"))) is not None
    assert order.kind == "reset"


def test_refusing_closes_sockets_and_strikes_no_request() -> None:
    """``refuse`` names pools whose socket closes, until it is cleared."""
    book = FaultBook(seed=1)
    book.add(FaultOrder(kind="refuse", pools=("azure/uksouth/a",)))
    assert book.refused_pools(POOLS) == {"azure/uksouth/a"}
    assert book.meets(Arrival("azure/uksouth/a", "m", "k")) is None
    book.clear(kind="refuse")
    assert book.refused_pools(POOLS) == frozenset()


def test_faults_have_a_limit() -> None:
    """Orders beyond a hundred are refused."""
    book = FaultBook(seed=1)
    for _ in range(ACTIVE_MAX):
        book.add(FaultOrder(kind="503"))
    with pytest.raises(FaultError, match="clear some first"):
        book.add(FaultOrder(kind="503"))
