"""What must hold between the parts of a policy: references that exist, ids given once, a lawful pool for
every route. ``faults(policy)`` names each place by its path, so that a file reader can add the line.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import NamedTuple

from controller.core.model.words import WORDS
from controller.core.policy.lawful import forbidden_by, lawful_pools, origins_of
from controller.core.policy.policy import Policy, Pool, Workload
from tieline.events import in_scope

Path = tuple[str | int, ...]


class Fault(NamedTuple):
    """``path`` leads to the field, e.g. ("pools", 3, "geography"); ``text`` says what and what to do."""

    path: Path
    text: str


def faults(policy: Policy) -> list[Fault]:
    """Every contradiction in a policy whose fields all have the right type; empty when it may be used."""
    found = [*_duplicates(policy), *_references(policy), *_numbers(policy)]
    return found or [*_routes_without_pools(policy), *_unlawful_last_resorts(policy)]


def near_miss(name: str, known: Iterable[str]) -> str:
    """`` (did you mean x?)`` or the known names, for the end of an error."""
    names = sorted(known)
    if close := get_close_matches(name, names, 1, 0.6):
        return f"; did you mean {close[0]}?"
    if not names:
        return "; none is defined"
    return f"; known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"


def _duplicates(policy: Policy) -> Iterator[Fault]:
    for number, workload in enumerate(policy.workloads):
        for place, pool in enumerate(workload.last_resort):
            if (first := workload.last_resort.index(pool)) < place:
                path = ("workloads", number, "last_resort", place)
                yield Fault(path, f"{pool} is already last_resort[{first}]: name it once, in its best place")
    for field in ("origins", "providers", "pools", "workloads", "quota_groups", "sources"):
        seen: dict[str, int] = {}
        for place, item in enumerate(getattr(policy, field)):
            if item.id in seen:
                yield Fault((field, place, "id"), f"{item.id} is already {field}[{seen[item.id]}]")
            seen.setdefault(item.id, place)


class _Known:
    """The names that other parts may refer to."""

    def __init__(self, policy: Policy) -> None:
        self.geographies = set(policy.geographies)
        self.origins = {item.id for item in policy.origins}
        self.providers = {item.id for item in policy.providers}
        self.pools = {item.id for item in policy.pools}
        self.groups = {item.id for item in policy.quota_groups}
        self.models = {offer.model for pool in policy.pools for offer in pool.models}


def _unknown(path: Path, kind: str, named: Iterable[str], known: set[str]) -> Iterator[Fault]:
    for place, name in enumerate(named):
        if name not in known:
            yield Fault((*path, place), f"unknown {kind} {name}{near_miss(name, known)}")


def _keys(path: Path, kind: str, named: Iterable[str], known: set[str]) -> Iterator[Fault]:
    for name in named:
        if name not in known:
            yield Fault((*path, name), f"unknown {kind} {name}{near_miss(name, known)}")


def _one(path: Path, kind: str, name: str | None, known: set[str]) -> Iterator[Fault]:
    if name and name not in known:
        yield Fault(path, f"unknown {kind} {name}{near_miss(name, known)}")


def _references(policy: Policy) -> Iterator[Fault]:
    known = _Known(policy)
    for place, origin in enumerate(policy.origins):
        path = ("origins", place, "allowed_geographies")
        yield from _unknown(path, "geography", origin.allowed_geographies, known.geographies)
    for place, pool in enumerate(policy.pools):
        yield from _pool_references(("pools", place), pool, known)
    for place, workload in enumerate(policy.workloads):
        yield from _workload_references(("workloads", place), workload, known)
    for place, source in enumerate(policy.sources):
        if not any(in_scope(pool.id, source.scope) for pool in policy.pools):
            yield Fault(("sources", place, "scope"), f"no pool lies in {source.scope}; * stands for all")
    for place, spend in enumerate(policy.committed_spend):
        yield from _one(("committed_spend", place, "provider"), "provider", spend.provider, known.providers)
    yield from _one(("first_refusal",), "provider", policy.first_refusal, known.providers)


def _pool_references(path: Path, pool: Pool, known: _Known) -> Iterator[Fault]:
    yield from _one((*path, "id"), "provider", pool.provider, known.providers)
    yield from _one((*path, "geography"), "geography", pool.geography, known.geographies)
    yield from _one((*path, "quota_group"), "quota group", pool.quota_group, known.groups)
    yield from _keys((*path, "latency_ms"), "origin", pool.latency_ms, known.origins)


def _workload_references(path: Path, workload: Workload, known: _Known) -> Iterator[Fault]:
    yield from _unknown((*path, "models"), "model", workload.models, known.models)
    yield from _unknown((*path, "origins"), "origin", workload.origins, known.origins)
    yield from _unknown((*path, "allowed_providers"), "provider", workload.allowed_providers, known.providers)
    yield from _one((*path, "exclusive_provider"), "provider", workload.exclusive_provider, known.providers)
    yield from _unknown(
        (*path, "allowed_geographies"), "geography", workload.allowed_geographies, known.geographies
    )
    for origin, named in workload.allowed_geographies_by_origin.items():
        inner = (*path, "allowed_geographies_by_origin")
        yield from _keys(inner, "origin", [origin], known.origins)
        yield from _unknown((*inner, origin), "geography", named, known.geographies)
    yield from _unknown((*path, "pinned_pools"), "pool", workload.pinned_pools, known.pools)
    yield from _unknown((*path, "last_resort"), "pool", workload.last_resort, known.pools)
    yield from _keys((*path, "provider_share_max"), "provider", workload.provider_share_max, known.providers)
    yield from _keys((*path, "expected_units_per_s"), "origin", workload.expected_units_per_s, known.origins)


def _numbers(policy: Policy) -> Iterator[Fault]:
    for place, pool in enumerate(policy.pools):
        if pool.committed_units_per_s > pool.limit_units_per_s:
            text = (
                f"{pool.committed_units_per_s:g} is more than limit_units_per_s {pool.limit_units_per_s:g}; "
                "the limit is all that the pool can give, the committed part included"
            )
            yield Fault(("pools", place, "committed_units_per_s"), text)
    for place, spend in enumerate(policy.committed_spend):
        if (spend.units is None) == (spend.money is None):
            yield Fault(("committed_spend", place), "give either units or money")
    steps = policy.thresholds.ramp_steps
    if list(steps) != sorted(set(steps)) or steps[-1] != 1 or steps[0] == 0:
        yield Fault(("thresholds", "ramp_steps"), "must rise from above 0 to 1, e.g. [0.01, 0.1, 0.5, 1]")
    limits = policy.thresholds
    if not limits.failing_share_clear <= limits.failing_share_degraded <= limits.failing_share_down:
        text = "must lie between failing_share_clear and failing_share_down"
        yield Fault(("thresholds", "failing_share_degraded"), text)


def _routes_without_pools(policy: Policy) -> Iterator[Fault]:
    for place, workload in enumerate(policy.workloads):
        for origin in origins_of(policy, workload):
            if not lawful_pools(policy, workload, origin):
                text = (
                    f"no pool may serve {workload.id} from {origin.id}: none offers all its models within "
                    "its allowed providers and geographies; add a pool, or leave the origin out of `origins`"
                )
                yield Fault(("workloads", place), text)


def _unlawful_last_resorts(policy: Policy) -> Iterator[Fault]:
    """Pools that a workload names for the worst case and may not use even then, whatever the origin."""
    pools = {pool.id: pool for pool in policy.pools}
    for number, workload in enumerate(policy.workloads):
        for place, name in enumerate(workload.last_resort):
            pool, path = pools[name], ("workloads", number, "last_resort", place)
            barred: dict[str, list[str]] = {}
            for origin in origins_of(policy, workload):
                reason = forbidden_by(pool, workload, origin)
                words = WORDS[reason].removeprefix("unlawful: ") if reason is not None else ""
                barred.setdefault(words, []).append(origin.id)
            if "" not in barred:
                why = "; ".join(f"from {', '.join(origins)}: {words}" for words, origins in barred.items())
                text = f"{name} may not serve {workload.id} from any of its origins ({why})"
                yield Fault(
                    path, f"{text}; take it out, or loosen that rule: a last resort keeps to all of them"
                )
            elif workload.provider_share_max.get(pool.provider) == 0:
                text = f"provider_share_max gives {pool.provider} nothing of {workload.id}"
                yield Fault(path, f"{text}; take {name} out, or raise that share above 0")
