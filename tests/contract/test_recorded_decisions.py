"""Decisions that real controllers recorded, decided again: the rules may only change on purpose.

Each file holds the records of one run's decisions topic, in order, as a msgpack array of bodies: a run of the
demo, one with the controller killed in a ramp, one with Kafka and Redis stopped, and one incident. A change
that is meant to decide otherwise has these runs decided anew (`python -m tools.redecide`) and says in its
commit message what differs.
"""

import gzip
from pathlib import Path

import msgspec
import pytest

from controller.decisions.chain import Chain
from controller.decisions.replay import difference

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.msgpack.gz"))
SHORTEST = 5


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.split(".")[0])
def test_recorded_decisions_come_out_the_same(path: Path) -> None:
    """Every decision of the run, decided again from its recorded snapshot, gives the recorded bytes."""
    chain, decided = Chain(), 0
    for offset, body in enumerate(
        msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=list[bytes])
    ):
        rebuilt = chain.take(offset, body)
        if rebuilt is not None:
            decided += 1
            assert difference(rebuilt) is None
    assert decided >= SHORTEST
    assert chain.gaps == []
