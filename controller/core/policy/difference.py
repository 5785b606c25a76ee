"""In what two policies differ, item by item, and which contracts the newer one loosens. Pure.

Items of a list are told apart by what names them: most by their ``id``. Lists without names, such as
geographies, are compared as a whole, because their order may count.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from controller.core.model.reasons import Reason
from controller.core.model.words import WORDS
from controller.core.policy.lawful import forbidden_by, origins_of
from controller.core.policy.policy import Policy, Workload

POOLS_NAMED_MAX = 3
VALUE_SHOWN_MAX = 120
NAMES: tuple[tuple[str, ...], ...] = (("id",), ("model",), ("provider", "period"), ("scope",))
"""By which fields items of a list are told apart, the first that fits."""

SINGULARS = {
    "origins": "origin",
    "providers": "provider",
    "pools": "pool",
    "workloads": "workload",
    "quota_groups": "quota group",
    "sources": "source",
    "committed_spend": "committed spend",
    "models": "model",
    "operators": "operator",
    "objectives": "objective",
}
CONTRACTS = frozenset(
    {
        Reason.EXCLUSIVE_ELSEWHERE,
        Reason.PROVIDER_NOT_ALLOWED,
        Reason.PINNED_ELSEWHERE,
        Reason.RESIDENCY_OF_ORIGIN,
        Reason.RESIDENCY_OF_WORKLOAD,
    }
)
"""What law and contracts forbid, unlike what a pool's models can't do."""


class PolicyDifference(Struct, frozen=True, omit_defaults=True):
    """One item or field that differs. ``what`` it is: ``pool azure/eu/gpt: limit_units_per_s``. ``before``
    and ``after`` are None where it was not there."""

    what: str
    before: Any = None
    after: Any = None

    @property
    def sentence(self) -> str:
        """``pool azure/eu/gpt: limit_units_per_s 200 -> 300``, ``pool azure/eu/gpt is new``."""
        if self.before is None:
            return f"{self.what} is new{_shown_after(self.after)}"
        if self.after is None:
            return f"{self.what} is gone"
        return f"{self.what} {_shown(self.before)} -> {_shown(self.after)}"


def differences(before: Policy, after: Policy) -> tuple[PolicyDifference, ...]:
    """Everything that differs, in the order of the policy's fields."""
    return tuple(_structs("", before, after))


def loosened_contracts(before: Policy, after: Policy) -> tuple[str, ...]:
    """A sentence for each contract or law that binds a route now and would bind it less.

    Routes and pools that only one of the policies has loosen nothing: nothing was agreed about them.
    """
    return (*_more_lawful(before, after), *_larger_shares(before, after))


def _more_lawful(before: Policy, after: Policy) -> Iterator[str]:
    old_pools = {pool.id: pool for pool in before.pools}
    old_origins = {origin.id: origin for origin in before.origins}
    for workload, old in _both(before, after):
        for origin in origins_of(after, workload):
            if (old_origin := old_origins.get(origin.id)) not in origins_of(
                before, old
            ) or old_origin is None:
                continue
            by_reason: dict[Reason, list[str]] = {}
            for pool in after.pools:
                if (old_pool := old_pools.get(pool.id)) is None or forbidden_by(pool, workload, origin):
                    continue
                reason = forbidden_by(old_pool, old, old_origin)
                if reason in CONTRACTS:
                    by_reason.setdefault(reason, []).append(pool.id)
            for reason, pools in by_reason.items():
                yield f"{workload.id}/{origin.id} might use {_named(pools)}, where until now {WORDS[reason]}"


def _larger_shares(before: Policy, after: Policy) -> Iterator[str]:
    for workload, old in _both(before, after):
        for provider, was in sorted(old.provider_share_max.items()):
            now = workload.provider_share_max.get(provider, 1.0)
            if now > was:
                yield (
                    f"{provider} might get {now:.0%} of {workload.id}, "
                    f"where until now it gets at most {was:.0%}"
                )


def _both(before: Policy, after: Policy) -> Iterator[tuple[Workload, Workload]]:
    """The workloads that both have, as (after, before)."""
    old = {workload.id: workload for workload in before.workloads}
    return ((workload, old[workload.id]) for workload in after.workloads if workload.id in old)


def _named(pools: list[str]) -> str:
    more = len(pools) - POOLS_NAMED_MAX
    return ", ".join(pools[:POOLS_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _structs(path: str, was: Struct, now: Struct) -> Iterator[PolicyDifference]:
    for name in now.__struct_fields__:
        old, new = getattr(was, name), getattr(now, name)
        if old != new:
            yield from _values(path, name, old, new)


def _values(path: str, name: str, was: Any, now: Any) -> Iterator[PolicyDifference]:
    place = f"{path}: {name}" if path else name
    if isinstance(was, Struct) and isinstance(now, Struct):
        yield from _structs(place, was, now)
    elif isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            if was.get(key) != now.get(key):
                yield _difference(f"{place}.{key}", was.get(key), now.get(key))
    elif (keys := _keys_of((*was, *now))) if isinstance(now, tuple) else None:
        yield from _items(path, name, _by_key(was, keys), _by_key(now, keys))
    else:
        yield _difference(place, was, now)


def _items(
    path: str, name: str, was: dict[str, Struct], now: dict[str, Struct]
) -> Iterator[PolicyDifference]:
    kind = SINGULARS.get(name, name)
    start = f"{path}: {kind}" if path else kind
    for key in [*was, *(key for key in now if key not in was)]:
        what = f"{start} {key}"
        if key not in was or key not in now:
            yield _difference(what, was.get(key), now.get(key))
        elif was[key] != now[key]:
            yield from _structs(what, was[key], now[key])
    if [key for key in was if key in now] != [key for key in now if key in was]:
        yield PolicyDifference(f"{path}: {name}" if path else name, "in one order", "in another")


def _keys_of(items: tuple[Any, ...]) -> tuple[str, ...]:
    """The fields that tell these items apart; empty where nothing does."""
    if not items or not all(isinstance(item, Struct) for item in items):
        return ()
    return next((keys for keys in NAMES if set(keys) <= set(items[0].__struct_fields__)), ())


def _by_key(items: tuple[Struct, ...], keys: tuple[str, ...]) -> dict[str, Struct]:
    return {" ".join(str(getattr(item, key)) for key in keys): item for item in items}


def _difference(what: str, was: Any, now: Any) -> PolicyDifference:
    return PolicyDifference(what, msgspec.to_builtins(was), msgspec.to_builtins(now))


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value)) or "none"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= VALUE_SHOWN_MAX else f"{text[:VALUE_SHOWN_MAX]}..."


def _shown_after(value: Any) -> str:
    """The value of a new field; a whole new item is only named."""
    return "" if isinstance(value, dict) else f": {_shown(value)}"
