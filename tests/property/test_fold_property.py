"""Any order and any repetition of the same records ends in the same rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.demand import DemandFold
from streams.fold import Refusal, fold
from streams.rows import DemandRow, Row
from tests.unit.streams.made import T0_MS, at, demand, observation, report
from tieline.registration import Registry

REGISTRY = Registry(frozenset(), {}, frozenset({"azure/eu/a"}))
offsets = st.lists(st.integers(0, 2**60), min_size=1, max_size=12, unique=True).map(sorted)


def final(order: list[tuple[int, int]], incarnation: str = "one") -> Row | None:
    """The row after (offset, sequence) pairs in this order."""
    row: Row | None = None
    for offset, sequence in order:
        event = report(sequence, observation(ok=sequence), incarnation=incarnation)
        folded = fold(row, event, at(offset), T0_MS)
        row = row if isinstance(folded, Refusal) else folded
    return row


@given(offsets, st.data())
def test_any_order_and_repetition_of_one_incarnation(places: list[int], data: st.DataObject) -> None:
    """When sequences rise with offsets, as an idempotent producer's do, delivery order does not matter."""
    records = list(enumerate(places))
    in_order = [(offset, sequence) for sequence, offset in records]
    repeated = data.draw(st.lists(st.sampled_from(in_order), max_size=30))
    shuffled = data.draw(st.permutations(in_order + repeated))
    assert final(shuffled) == final(in_order)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=15), st.data())
def test_reading_again_from_anywhere(sequences: list[int], data: st.DataObject) -> None:
    """A partition read on after any number of rewinds ends as one clean reading, whatever its sequences."""
    log = list(enumerate(sequences))
    order: list[tuple[int, int]] = []
    reached = 0
    while reached < len(log):
        start = data.draw(st.integers(0, reached))
        stop = data.draw(st.integers(reached + 1, len(log)))
        order += log[start:stop]
        reached = stop
    assert final(order) == final(log)


@given(st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=20), st.data())
def test_rewinds_are_harmless_with_any_incarnations(names: list[str], data: st.DataObject) -> None:
    """Reading a log again changes nothing, also with producers that restart or share a name.

    Records may lie so far apart that a producer goes stale and an older one is accepted again.
    """
    apart_ms = data.draw(st.sampled_from([1, 6_000, 20_000]))

    def read(row: Row | None, start: int) -> Row | None:
        for offset, name in list(enumerate(names))[start:]:
            at_ms = T0_MS + offset * apart_ms
            event = report(offset, incarnation=name, end_ms=at_ms)
            folded = fold(row, event, at(offset), at_ms)
            row = row if isinstance(folded, Refusal) else folded
        return row

    once = read(None, 0)
    assert read(once, data.draw(st.integers(0, len(names) - 1))) == once
    assert once is not None
    assert len(once.retired) <= 4


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5)), min_size=1, max_size=25), st.data())
def test_demand_sums_survive_a_change_of_owner(reports: list[tuple[str, int]], data: st.DataObject) -> None:
    """Wherever a partition changes hands, and however far its new owner rewinds, the sums are exact."""
    log = [
        demand(client, offset, observation(ok=ok), end_ms=T0_MS + offset * 300)
        for offset, (client, ok) in enumerate(reports)
    ]

    def read(fold_: DemandFold, start: int, stop: int) -> DemandFold:
        for offset in range(start, stop):
            fold_.add(log[offset], at(offset), log[offset].window_end_ms, REGISTRY)
        return fold_

    change = data.draw(st.integers(1, len(log)))
    first = read(DemandFold(), 0, change)
    second = read(DemandFold(first.row()), data.draw(st.integers(0, change)), len(log))
    assert sums(second.row()) == sums(read(DemandFold(), 0, len(log)).row())


def sums(row: DemandRow) -> list[object]:
    """What must be exact: load and outcomes of each second, without what is told of clients one by one."""
    return [
        (
            second.second_ms,
            [(flow.workload, flow.origin, flow.requests, flow.offered_units) for flow in second.flows],
            [(pool.pool, pool.outcomes) for pool in second.pools],
        )
        for second in row.seconds
    ]
