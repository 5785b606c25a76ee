"""A recorded decision decided again: the same bytes come out, or the first place that differs. Pure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from controller.core.planner import Planner
from controller.decisions.record import RebuiltDecision, decode_ready, encode_ready

TEXT_MAX = 200  # characters of a value that are shown


class Difference(Struct, frozen=True):
    """The first place where deciding again gave another value, and both values there as text."""

    generation: str
    now_ms: int
    place: str
    recorded: str
    again: str


class _Mismatch(NamedTuple):
    place: str
    recorded: str
    again: str


def difference(decision: RebuiltDecision, planner: Planner | None = None) -> Difference | None:
    """Decides again; None if the same bytes come out.

    Whoever decides many decisions again gives one ``planner`` to all of them, which saves work.
    """
    again = encode_ready((planner or Planner()).step(decision.snapshot, decision.now_ms))
    if again == decision.ready_bytes:
        return None
    same_values = "the same values in other bytes"
    mismatches = _mismatches(
        msgspec.to_builtins(decision.ready), msgspec.to_builtins(decode_ready(again)), "ready"
    )
    first = next(mismatches, _Mismatch("ready", same_values, same_values))
    return Difference(
        generation=str(decision.generation),
        now_ms=decision.now_ms,
        place=first.place,
        recorded=first.recorded,
        again=first.again,
    )


def _mismatches(recorded: Any, again: Any, place: str) -> Iterator[_Mismatch]:
    """Every place that differs, depth first; ``place`` is a path such as ``ready.memory.pools``."""
    if isinstance(recorded, dict) and isinstance(again, dict):
        for key in sorted({*recorded, *again}):
            path = f"{place}.{key}"
            if key in recorded and key in again:
                yield from _mismatches(recorded[key], again[key], path)
            else:
                yield _Mismatch(path, _text(recorded.get(key, "absent")), _text(again.get(key, "absent")))
    elif isinstance(recorded, list | tuple) and isinstance(again, list | tuple):
        for number, (left, right) in enumerate(zip(recorded, again, strict=False)):
            yield from _mismatches(left, right, f"{place}[{number}]")
        if len(recorded) != len(again):
            yield _Mismatch(f"{place} (length)", str(len(recorded)), str(len(again)))
    elif recorded != again:
        yield _Mismatch(place, _text(recorded), _text(again))


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 3]}..."
