"""Slices and routers for the unit tests beside this file; time is a number that the test moves."""

from collections.abc import Mapping, Sequence
from typing import Any

from tieline._routing.route import Outcome, Target
from tieline._routing.router import Router
from tieline._routing.slices import ClientTable
from tieline.table import MILLION, Generation, ModelOffer, PoolInfo, Route, Slice, Split

MODEL = "chat-large"


class Time:
    """A clock that stands until it is moved."""

    def __init__(self, now_ms: int = 1_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def pass_ms(self, duration_ms: int) -> int:
        """Move on; gives the new time."""
        self.now_ms += duration_ms
        return self.now_ms


def info(pool: str, **more: Any) -> PoolInfo:
    """A pool that offers ``chat-large`` as ``big``."""
    settings: dict[str, Any] = {"models": (ModelOffer(MODEL, "big", 8_000, ("tools",)),), **more}
    return PoolInfo(pool=pool, geography="eu", url=f"https://{pool.replace('/', '.')}/v1", **settings)


def part(
    weights: Mapping[str, int],
    *,
    shed: int = 0,
    on_loss: Mapping[str, Mapping[str, int]] | None = None,
    infos: Mapping[str, PoolInfo] | None = None,
    last_resort: Sequence[str] = (),
) -> Slice:
    """A slice of one route; pools named in ``on_loss`` or ``last_resort`` alone have no weight themselves. An
    ``on_loss`` split without pools sheds everything."""
    names = sorted({*weights, *last_resort, *(pool for split in (on_loss or {}).values() for pool in split)})
    pools = tuple((infos or {}).get(name) or info(name) for name in names)

    def split(row: Mapping[str, int], share: int) -> Split:
        return Split(tuple(map(names.index, row)), tuple(row.values()), share)

    lost = {provider: split(row, 0 if row else MILLION) for provider, row in (on_loss or {}).items()}
    last = tuple(map(names.index, last_resort))
    return Slice(pools, Route("chat", "eu", "critical", split(weights, shed), "no capacity", lost, last))


def router(slice_in_force: Slice | None, time: Time, *, seq: int = 1, phase: float = 0.0) -> Router:
    """A router with this slice in force."""
    routing = Router("chat", "eu", clock=time, phase=phase, chance=lambda: 1.0)
    if slice_in_force is not None:
        routing.apply(generation(slice_in_force, seq))
    return routing


def generation(slice_in_force: Slice, seq: int) -> ClientTable:
    """The slice as generation ``test:1:seq``."""
    return ClientTable(Generation("test", 1, seq), {"eu": slice_in_force})


def target(pool: str) -> Target:
    """A target for choices that are built by hand."""
    return Target(pool, "https://x", "openai", "", MODEL, "big", "eu", "test:1:1", _unheard)


def _unheard(_target: Target, _outcome: Outcome) -> None:
    return None
