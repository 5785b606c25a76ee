"""The route table: what is refused before it leaves and after it arrives, and what a slice keeps."""

import msgspec
import pytest

from tieline.table import (
    MILLION,
    Generation,
    Manifest,
    PoolInfo,
    Route,
    RouteTable,
    Split,
    TableError,
    check,
    checksum,
    decode_manifest,
    decode_slice,
    decode_table,
    encode_table,
    manifest,
    slices,
)

POOLS = tuple(
    PoolInfo(pool=name, geography="eu", url=f"http://127.0.0.1:1/{name}")
    for name in ("azure/swedencentral/a", "azure/norwayeast/a", "gcp/europe-west4/a")
)


SPLIT = Split((0, 2), (600_000, 400_000))


def _route(split: Split = SPLIT, **more: object) -> Route:
    on_loss = {"azure": Split((2,), (700_000,), 300_000), "gcp": Split((0,), (MILLION,))}
    return msgspec.structs.replace(Route("chat", "eu", "critical", split, on_loss=on_loss), **more)


def _table(*routes: Route, **more: object) -> RouteTable:
    table = RouteTable(Generation("main", 3, 4), 1_790_000_000_000, POOLS, routes or (_route(),))
    return msgspec.structs.replace(table, **more)


def test_round_trip() -> None:
    """A table comes back equal, and the same table is always the same bytes."""
    table = _table()
    assert decode_table(encode_table(table)) == table
    assert encode_table(table) == encode_table(decode_table(encode_table(table)))


WRONG = {
    "an empty table": _table(routes=()),
    "an empty table ": _table(pools=()),
    "listed twice": _table(pools=(*POOLS, POOLS[0])),
    "a route is listed twice": _table(_route(), _route()),
    "sum to 999999": _table(_route(Split((0,), (999_999,)))),
    "two weights": _table(_route(Split((0, 0), (500_000, 500_000)))),
    "1 pools but 2 weights": _table(_route(Split((0,), (500_000, 500_000)))),
    "does not list": _table(_route(Split((9,), (MILLION,)))),
    "shed_reason is empty": _table(_route(Split((), (), MILLION))),
    "chat/eu last resort: refers to": _table(_route(last_resort=(3,))),
    "chat/eu last resort: refers to a": _table(_route(last_resort=(-1,))),
    "chat/eu last resort: a pool is named twice": _table(_route(last_resort=(1, 1))),
    "a pool of azure still has weight": _table(_route(on_loss={"azure": Split((1,), (MILLION,))})),
    "schema 9": _table(schema=9),
}


@pytest.mark.parametrize("message", WRONG)
def test_check_refuses(message: str) -> None:
    """A partial, empty or contradictory table neither leaves nor is taken; the message says what is wrong."""
    with pytest.raises(TableError, match=message.strip()):
        check(WRONG[message])


def test_everything_may_be_shed_with_a_reason() -> None:
    """A route without any weight stands only with shed = 100 % and a reason."""
    check(_table(_route(Split((), (), MILLION), shed_reason="no_lawful_capacity")))


def test_a_table_over_the_limit_says_its_size() -> None:
    """The encoder refuses more than 8 MiB."""
    url = "http://127.0.0.1/" + "x" * 9_000_000
    with pytest.raises(TableError, match=r"takes 9\d{6} bytes"):
        encode_table(_table(pools=(msgspec.structs.replace(POOLS[0], url=url), *POOLS[1:])))


def test_slices_hold_just_their_pools_and_mean_the_same() -> None:
    """A slice lists only the pools its route refers to; every weight stays on the same pool."""
    table = _table()
    parts = slices(table)
    part = decode_slice(parts["chat/eu"], checksum(parts["chat/eu"]))
    assert [info.pool for info in part.pools] == ["azure/swedencentral/a", "gcp/europe-west4/a"]
    assert part.route.split == Split((0, 1), (600_000, 400_000))
    assert part.route.on_loss["azure"] == Split((1,), (700_000,), 300_000)


def test_a_slice_holds_the_last_resort_in_its_order() -> None:
    """Also pools that no split refers to."""
    table = _table(_route(last_resort=(2, 1)))
    parts = slices(table)
    part = decode_slice(parts["chat/eu"], checksum(parts["chat/eu"]))
    assert [part.pools[index].pool for index in part.route.last_resort] == [POOLS[2].pool, POOLS[1].pool]


class OldRoute(msgspec.Struct, frozen=True, omit_defaults=True):
    """A route as libraries before the last resort know it."""

    workload: str
    origin: str
    criticality: str
    split: Split
    shed_reason: str = ""
    on_loss: dict[str, Split] = {}


def test_libraries_that_know_no_last_resort_read_on() -> None:
    """They skip the field; a table without one has the bytes it always had."""
    decode = msgspec.msgpack.Decoder(OldRoute).decode
    with_one, without = (msgspec.msgpack.encode(_route(last_resort=last)) for last in ((1,), ()))
    assert decode(with_one) == decode(without)
    assert msgspec.msgpack.encode(decode(without)) == without


def test_an_unchanged_route_keeps_its_bytes_over_generations() -> None:
    """A publication that does not touch a route gives its clients nothing to fetch."""
    later = _table(generation=Generation("main", 4, 1), made_ms=1_790_000_009_000)
    assert slices(_table()) == slices(later)


def test_damaged_slices_and_manifests_are_refused() -> None:
    """One altered byte, another schema, or no slice at all: refused."""
    table = _table()
    parts = slices(table)
    held = decode_manifest(manifest(table, parts, urgent_seq=4))
    assert held == Manifest(table.generation, table.made_ms, {"chat/eu": checksum(parts["chat/eu"])}, 4)
    damaged = bytearray(parts["chat/eu"])
    damaged[10] ^= 1
    with pytest.raises(TableError, match="checksum"):
        decode_slice(bytes(damaged), held.slices["chat/eu"])
    with pytest.raises(TableError, match="not a slice"):
        decode_slice(b"\xc0", checksum(b"\xc0"))
    with pytest.raises(TableError, match="empty manifest"):
        decode_manifest(msgspec.msgpack.encode(msgspec.structs.replace(held, slices={})))
    with pytest.raises(TableError, match="schema 2"):
        decode_manifest(msgspec.msgpack.encode(msgspec.structs.replace(held, schema=2)))
    with pytest.raises(TableError, match="not a manifest"):
        decode_manifest(b"{}")


def test_generations_are_ordered_within_a_lineage_only() -> None:
    """A higher epoch wins over any seq; another lineage never follows."""
    held = Generation("main", 3, 9)
    assert Generation("main", 4, 0).newer_than(held)
    assert Generation("main", 3, 10).newer_than(held)
    assert not Generation("main", 3, 9).newer_than(held)
    assert not Generation("main", 2, 99).newer_than(held)
    assert not Generation("other", 9, 9).newer_than(held)
    assert held.newer_than(None)
    assert str(held) == "main:3:9"
