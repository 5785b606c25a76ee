"""Which parts of a policy contradict each other, and what to do about it.

Names must refer to something, ids must be unique, numbers must fit together, and every route needs a lawful
pool. A fault names its place by the path of the field, so that the reader of a file can add the line.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from difflib import get_close_matches
from typing import NamedTuple

from controller.core.model.words import WORDS
from controller.core.policy.check_operators import operator_mistakes
from controller.core.policy.lawful import forbidden_by, lawful_pools, origins_of
from controller.core.policy.policy import CommittedSpend, Policy, Pool, Workload
from controller.core.policy.thresholds import Thresholds
from tieline.events import in_scope
from tieline.table import ModelOffer

NAMES_SHOWN_MAX = 12
SIMILARITY_MIN = 0.6  # of ``difflib``: 1 is the same name
QUOTA_GROUPS_MAX = 4  # of one pool; a subscription, a region, a model and a deployment type may each have one

Path = tuple[str | int, ...]


class Fault(NamedTuple):
    """``path`` leads to the field, e.g. ("pools", 3, "geography"); ``text`` says what and what to do."""

    path: Path
    text: str


def faults(policy: Policy) -> list[Fault]:
    """Every contradiction in a policy whose fields have the right types; empty when it may be used.

    Faults that need all references to be right are looked for only once they are.
    """
    contradictions = [*name_faults(policy), *_numbers(policy), *_mixed_embeddings(policy)]
    contradictions += _operators(policy)
    return contradictions or [*_routes_without_pools(policy), *_unlawful_last_resorts(policy)]


def name_faults(policy: Policy) -> list[Fault]:
    """Ids that are given twice and names that refer to nothing."""
    return [*_duplicates(policy), *_references(policy)]


def near_miss(name: str, defined: Iterable[str]) -> str:
    """The end of an error about an unknown name: the most similar defined name, else the first of them."""
    names = sorted(defined)
    if close := get_close_matches(name, names, 1, SIMILARITY_MIN):
        return f"; did you mean {close[0]}?"
    if not names:
        return "; none is defined"
    more = ", ..." if len(names) > NAMES_SHOWN_MAX else ""
    return f"; known: {', '.join(names[:NAMES_SHOWN_MAX])}{more}"


def _duplicates(policy: Policy) -> Iterator[Fault]:
    for number, workload in enumerate(policy.workloads):
        for place, pool in enumerate(workload.last_resort):
            if (first := workload.last_resort.index(pool)) < place:
                path = ("workloads", number, "last_resort", place)
                yield Fault(path, f"{pool} is already last_resort[{first}]: name it once, in its best place")
    for field in ("origins", "providers", "pools", "workloads", "quota_groups", "sources", "operators"):
        places: dict[str, int] = {}
        for place, item in enumerate(getattr(policy, field)):
            if item.id in places:
                yield Fault((field, place, "id"), f"{item.id} is already {field}[{places[item.id]}]")
            places.setdefault(item.id, place)


class _Names:
    """The names that other parts of the policy may refer to."""

    def __init__(self, policy: Policy) -> None:
        self.geographies = set(policy.geographies)
        self.origins = {item.id for item in policy.origins}
        self.providers = {item.id for item in policy.providers}
        self.pools = {item.id for item in policy.pools}
        self.groups = {item.id for item in policy.quota_groups}
        self.models = {offer.model for pool in policy.pools for offer in pool.models}


def _unknown_items(path: Path, kind: str, names: Iterable[str], defined: set[str]) -> Iterator[Fault]:
    for place, name in enumerate(names):
        yield from _unknown((*path, place), kind, name, defined)


def _unknown_keys(path: Path, kind: str, names: Iterable[str], defined: set[str]) -> Iterator[Fault]:
    for name in names:
        yield from _unknown((*path, name), kind, name, defined)


def _unknown(path: Path, kind: str, name: str | None, defined: set[str]) -> Iterator[Fault]:
    if name and name not in defined:
        yield Fault(path, f"unknown {kind} {name}{near_miss(name, defined)}")


def _references(policy: Policy) -> Iterator[Fault]:
    names = _Names(policy)
    for place, origin in enumerate(policy.origins):
        path = ("origins", place, "allowed_geographies")
        yield from _unknown_items(path, "geography", origin.allowed_geographies, names.geographies)
    for place, pool in enumerate(policy.pools):
        yield from _pool_references(("pools", place), pool, names)
    for place, workload in enumerate(policy.workloads):
        yield from _workload_references(("workloads", place), workload, names)
    for place, source in enumerate(policy.sources):
        if not any(in_scope(pool.id, source.scope) for pool in policy.pools):
            yield Fault(("sources", place, "scope"), f"no pool lies in {source.scope}; * stands for all")
    yield from _objective_scopes(policy)
    for place, spend in enumerate(policy.committed_spend):
        path = ("committed_spend", place, "provider")
        yield from _unknown(path, "provider", spend.provider, names.providers)
    yield from _unknown(("first_refusal",), "provider", policy.first_refusal, names.providers)
    yield from _unknown_keys(("same_model",), "model", policy.same_model, names.models)


def _pool_references(path: Path, pool: Pool, names: _Names) -> Iterator[Fault]:
    yield from _unknown((*path, "id"), "provider", pool.provider, names.providers)
    yield from _unknown((*path, "geography"), "geography", pool.geography, names.geographies)
    yield from _quota_groups((*path, "quota_group"), pool, names)
    yield from _unknown_keys((*path, "latency_ms"), "origin", pool.latency_ms, names.origins)


def _quota_groups(path: Path, pool: Pool, names: _Names) -> Iterator[Fault]:
    """Every quota group is in the policy and named once, and there are no more than a decision can afford."""
    groups = pool.quota_groups
    if len(groups) > QUOTA_GROUPS_MAX:
        yield Fault(path, f"a pool may be in {QUOTA_GROUPS_MAX} quota groups at most, not in {len(groups)}")
    if isinstance(pool.quota_group, str):
        yield from _unknown(path, "quota group", pool.quota_group, names.groups)
        return
    for place, name in enumerate(groups):
        if name not in names.groups:
            yield Fault(
                (*path, place), f"unknown quota group {name or repr(name)}{near_miss(name, names.groups)}"
            )
        elif (first := groups.index(name)) < place:
            yield Fault((*path, place), f"{name} is already quota_group[{first}]: name it once")


def _workload_references(path: Path, workload: Workload, names: _Names) -> Iterator[Fault]:
    for field, kind, defined in (
        ("models", "model", names.models),
        ("origins", "origin", names.origins),
        ("allowed_providers", "provider", names.providers),
        ("allowed_geographies", "geography", names.geographies),
        ("pinned_pools", "pool", names.pools),
        ("last_resort", "pool", names.pools),
    ):
        yield from _unknown_items((*path, field), kind, getattr(workload, field), defined)
    for field, kind, defined in (
        ("provider_share_max", "provider", names.providers),
        ("expected_units_per_s", "origin", names.origins),
        ("allowed_geographies_by_origin", "origin", names.origins),
    ):
        yield from _unknown_keys((*path, field), kind, getattr(workload, field), defined)
    for origin, geographies in workload.allowed_geographies_by_origin.items():
        inner = (*path, "allowed_geographies_by_origin", origin)
        yield from _unknown_items(inner, "geography", geographies, names.geographies)
    place = (*path, "exclusive_provider")
    yield from _unknown(place, "provider", workload.exclusive_provider, names.providers)


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
        yield from _term_faults(("committed_spend", place), spend)
    yield from _no_capacity(policy)
    yield from _threshold_faults(policy.thresholds)


def _term_faults(path: Path, spend: CommittedSpend) -> Iterator[Fault]:
    """A term has its two days, in order, and no other period has any."""
    has_days = spend.starts is not None and spend.ends is not None
    if spend.period != "term":
        if spend.starts is not None or spend.ends is not None:
            yield Fault(path, f"a {spend.period} is of the calendar: leave out starts and ends")
        return
    if not has_days:
        yield Fault(path, "a term needs starts and ends, each a day")
        return
    for field in ("starts", "ends"):
        if day_fault(getattr(spend, field)):
            yield Fault((*path, field), f"there is no day {getattr(spend, field)}")
            return
    if str(spend.starts) >= str(spend.ends):
        yield Fault((*path, "ends"), f"it must lie after starts, {spend.starts}")


def day_fault(text: str) -> bool:
    """Whether the calendar has no such day."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return True
    return False


def _no_capacity(policy: Policy) -> Iterator[Fault]:
    """Limits of nothing: each would take its pools out of use for good, without an order that says so."""
    for field, items in (("pools", policy.pools), ("quota_groups", policy.quota_groups)):
        for place, item in enumerate(items):
            for name in ("limit_units_per_s", "requests_per_s", "concurrency"):
                if getattr(item, name) == 0:
                    text = "must be above 0; to keep load away from a pool, drain it or leave it out"
                    yield Fault((field, place, name), text)


ASCENDING = (
    ("window_min_ms", "window_ms"),
    ("stale_min_ms", "stale_max_ms"),
    ("hold_down_min_ms", "hold_down_max_ms"),
    ("hold_down_max_ms", "hold_down_cap_ms"),
    ("reversal_ms", "reversal_max_ms"),
)
"""Pairs of thresholds of which the first is at most the second."""


def _threshold_faults(thresholds: Thresholds) -> Iterator[Fault]:
    for low, high in ASCENDING:
        least, most = getattr(thresholds, low), getattr(thresholds, high)
        if least > most:
            yield Fault(("thresholds", low), f"{least} is more than {high}, which is {most}")
    steps = thresholds.ramp_steps
    if list(steps) != sorted(set(steps)) or steps[-1] != 1 or steps[0] == 0:
        yield Fault(("thresholds", "ramp_steps"), "must rise from above 0 to 1, e.g. [0.01, 0.1, 0.5, 1]")
    shares = (
        thresholds.failing_share_clear,
        thresholds.failing_share_degraded,
        thresholds.failing_share_down,
    )
    if list(shares) != sorted(shares):
        text = "must lie between failing_share_clear and failing_share_down"
        yield Fault(("thresholds", "failing_share_degraded"), text)


def _objective_scopes(policy: Policy) -> Iterator[Fault]:
    """Scopes of objectives that no pool lies in, or that are named twice."""
    scopes = [objective.scope for objective in policy.objectives]
    for place, scope in enumerate(scopes):
        path = ("objectives", place, "scope")
        if not any(in_scope(pool.id, scope) for pool in policy.pools):
            yield Fault(path, f"no pool lies in {scope}; * stands for all")
        elif (first := scopes.index(scope)) < place:
            yield Fault(path, f"{scope} already has objectives[{first}]")


def _operators(policy: Policy) -> Iterator[Fault]:
    """Keys that are none or given twice, rights to nothing, and approvals that nobody could give."""
    for path, text, name, defined in operator_mistakes(policy):
        yield Fault(path, text + (near_miss(name, defined) if name else ""))


def _mixed_embeddings(policy: Policy) -> Iterator[Fault]:
    """Offers of one logical embedding model under another name than the first offer's, unless the policy
    states that the two are the same model. Vectors of two models can't be compared, so a failover between
    them would spoil an index without any error."""
    offers: dict[str, list[tuple[Path, ModelOffer]]] = {}
    for number, pool in enumerate(policy.pools):
        for place, offer in enumerate(pool.models):
            offers.setdefault(offer.model, []).append((("pools", number, "models", place, "name"), offer))
    for model, rows in offers.items():
        if not any(_embeds(offer) for _, offer in rows):
            continue
        (first_path, first), *others = rows
        same = policy.same_model.get(model, ())
        for path, offer in others:
            if offer.name != first.name and not {first.name, offer.name}.issubset(same):
                names = ", ".join(dict.fromkeys((first.name, *same, offer.name)))
                text = (
                    f"{model} is an embedding model, and pools[{first_path[1]}] offers it as {first.name}, "
                    f"this pool as {offer.name}: vectors of two models can't be compared; give one of them "
                    f"another `model`, or state that they are the same: same_model: {{{model}: [{names}]}}"
                )
                yield Fault(path, text)


def _embeds(offer: ModelOffer) -> bool:
    """Whether it is an embedding model: by its features, or by a name as providers give them."""
    return "embeddings" in offer.features or any(
        "embed" in name.lower() for name in (offer.model, offer.name)
    )


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
    """Pools that a workload names as its last resort and may not use from any of its origins."""
    pools = {pool.id: pool for pool in policy.pools}
    for number, workload in enumerate(policy.workloads):
        for place, name in enumerate(workload.last_resort):
            pool, path = pools[name], ("workloads", number, "last_resort", place)
            barred: dict[str, list[str]] = {}
            for origin in origins_of(policy, workload):
                reason = forbidden_by(pool, workload, origin)
                words = WORDS[reason] if reason is not None else ""
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
