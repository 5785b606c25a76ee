"""What is recorded of a decision is enough to rebuild its snapshot, every field of it."""

from typing import Any

import pytest
from msgspec.structs import replace

from controller.core.model.dispatch_plan import Plan
from controller.core.snapshot import LoggedAnswer, Snapshot
from controller.decisions.chain import Chain
from controller.decisions.record import RecordError, decision_of, decode_decision, encode_decision, rebuild
from tests.scenarios.world import START_MS
from tests.unit.controller.decisions.lived import POLICY, bodies_of, lived, rebuilt
from tieline.events import Command
from tieline.offers import OfferAnswer
from tieline.table import RouteTable


@pytest.mark.parametrize("field", Snapshot.__struct_fields__)
def test_no_field_of_a_snapshot_is_forgotten(field: str) -> None:
    """Whichever field alone differs from the record before: reading both gives the second snapshot."""
    first, second, *_ = lived(30)[24:]
    snapshot = replace(first.snapshot, table=first.published)
    others: dict[str, Any] = {
        "policy": replace(POLICY, headroom=0.5),
        "plan": Plan("v", "i", START_MS, ()),
        "statements": second.snapshot.reports[:1],
        "table": second.published,
        "commands": (Command("d", "drain", "gcp", "kim", "why", START_MS, START_MS + 60_000),),
        "offer_answers": (LoggedAnswer(START_MS, OfferAnswer("f", "gcp", "eu-1", "one", 1, START_MS)),),
        "used_up": ("gcp",),
        "memory": replace(first.ready.memory, voluntary_ms=7),
    }
    changed = replace(snapshot, **{field: others.get(field, getattr(second.snapshot, field))})
    assert getattr(changed, field) != getattr(snapshot, field)
    now = replace(second, snapshot=changed)
    bodies = [encode_decision(decision_of(first, None)), encode_decision(decision_of(now, first))]
    assert rebuilt(Chain(), bodies)[-1].snapshot == changed
    back = replace(lived(26)[-1], snapshot=snapshot, published=_next(now.published))
    bodies.append(encode_decision(decision_of(back, now)))
    assert rebuilt(Chain(), bodies)[-1].snapshot == snapshot


def _next(table: RouteTable) -> RouteTable:
    return replace(table, generation=replace(table.generation, seq=table.generation.seq + 1))


def test_a_record_is_never_rebuilt_on_another() -> None:
    """What changed is only applied to the very record that it follows."""
    bodies = bodies_of(lived(4))
    first = rebuild(decode_decision(bodies[0]), None)
    assert rebuild(decode_decision(bodies[3]), first) is None
    assert rebuild(decode_decision(bodies[3]), None) is None


def test_a_body_that_is_no_record_is_refused() -> None:
    """Other bytes raise ``RecordError``."""
    with pytest.raises(RecordError):
        decode_decision(b"{}")
