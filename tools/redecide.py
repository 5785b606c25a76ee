"""Decides the recorded runs anew: `python -m tools.redecide` rewrites tests/contract/recorded.

For changes that are meant to decide otherwise. Each run is decided again from its own evidence, capacity,
demand and orders, in their order and at their instants. The table, and what was remembered at a
publication, follow from the new decisions. Plans of the dispatch stay those that were recorded. Look at what
differs before you commit it, and say in the commit message why that is right.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from controller.core.planner import Planner
from controller.core.snapshot import Snapshot
from controller.decisions.chain import Chain
from controller.decisions.record import RebuiltDecision, Step, decision_of, encode_decision
from tieline.table import Generation

FOLDER = Path(__file__).parents[1] / "tests" / "contract" / "recorded"


def decided_anew(bodies: list[bytes]) -> Iterator[bytes]:
    """The records of a run as today's rules decide it."""
    chain, planner = Chain(), Planner()
    before: RebuiltDecision | None = None
    last: Step | None = None
    for offset, body in enumerate(bodies):
        recorded = chain.take(offset, body)
        if recorded is None:
            continue
        snapshot = _following(recorded.snapshot, before, last)
        before = recorded
        ready = planner.step(snapshot, recorded.now_ms)
        table = ready.table or snapshot.table
        if table is None:
            continue
        office = snapshot.office
        generation = Generation(office.lineage, office.epoch, office.next_seq)
        published = replace(table, generation=generation, made_ms=recorded.now_ms)
        step = Step(recorded.now_ms, snapshot, ready, published)
        is_whole = last is None or last.generation.epoch != generation.epoch
        yield encode_decision(decision_of(step, None if is_whole else last))
        last = step


def _following(snapshot: Snapshot, before: RebuiltDecision | None, last: Step | None) -> Snapshot:
    """The recorded snapshot as it would be after the step that was decided anew before it."""
    if before is None or last is None:
        return snapshot
    if snapshot.table is not None and snapshot.table.generation == before.generation:
        snapshot = replace(snapshot, table=last.published)
    if snapshot.memory == before.ready.memory:
        snapshot = replace(snapshot, memory=last.ready.memory)
    return snapshot


def main() -> int:
    """Rewrites every run. Returns 0."""
    for path in sorted(FOLDER.glob("*.msgpack.gz")):
        bodies = msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=list[bytes])
        anew = list(decided_anew(bodies))
        path.write_bytes(gzip.compress(msgspec.msgpack.encode(anew), mtime=0))
        print(f"{path.name}: {len(bodies)} records, {len(anew)} decided anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
