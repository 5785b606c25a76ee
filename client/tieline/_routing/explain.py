"""PURE. Which pool is out here, why, until when and for whom: ``explain()`` of the clients."""

from typing import Any

from tieline._health.ejection import Out
from tieline._health.verdicts import Verdicts
from tieline._routing.room import Rooms
from tieline._routing.slices import ClientTable, split_in_force, weighted
from tieline.table import Slice, Split


def explain(table: ClientTable, verdicts: Verdicts, rooms: Rooms, now_ms: int) -> list[dict[str, Any]]:
    """One row for each origin and pool that the route gives weight, now or when nothing is out, or names as
    its last resort.

    ``weight_ppm``: in the split in force, which ``split`` names. ``out``: the result class for which all
    requests keep away, with ``out_since_ms`` (ago) and ``out_for_ms`` (still; 0: the next request finds out).
    ``models_out``: the same for single models. ``kept_back``: the share not sent because the pool turns most
    requests away, is slow or is just coming back. ``room_in_ms``: how long until its rate-limit headers leave
    room for a request; 0: they do. ``last_resort``: the pool's place in that order, from 1; None if it has
    none.
    """
    rows = []
    models = verdicts.model_outs()
    for origin, part in sorted(table.parts.items()):
        split, reason = split_in_force(part, verdicts.out_of)
        places = {part.pools[index].pool: at for at, index in enumerate(part.route.last_resort, start=1)}
        for pool, weight in _weights(part, split).items():
            pool_models = {model: out for (name, model), out in models.items() if name == pool}
            rows.append(
                {
                    "origin": origin,
                    "pool": pool,
                    "weight_ppm": weight,
                    "split": reason.value,
                    **_out(verdicts.out_of(pool, ""), now_ms),
                    "models_out": {model: _out(out, now_ms) for model, out in pool_models.items()},
                    "kept_back": verdicts.kept_back(pool),
                    "room_in_ms": rooms.pool_wait_ms(pool, now_ms),
                    "last_resort": places.get(pool),
                }
            )
    return rows


def _weights(part: Slice, split: Split) -> dict[str, int]:
    """Every pool that a row is about, with its weight in the split in force."""
    weights = {info.pool: weight for info, weight in weighted(part, split)}
    for info, _ in weighted(part, part.route.split):
        weights.setdefault(info.pool, 0)
    for index in part.route.last_resort:
        weights.setdefault(part.pools[index].pool, 0)
    return weights


def _out(out: Out | None, now_ms: int) -> dict[str, Any]:
    return {
        "out": out.result.value if out is not None else None,
        "out_since_ms": now_ms - out.since_ms if out is not None else None,
        "out_for_ms": max(0, out.until_ms - now_ms) if out is not None else None,
    }
