"""PURE: what to probe, out of the policy and the environment's credentials."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from controller.core.policy.policy import Policy, Pool
from controller.probe.request import Target

CREDENTIAL_PREFIX = "TIELINE_CREDENTIAL_"


class ProbeError(ValueError):
    """The prober can't start: one sentence with the remedy."""


class Plan(NamedTuple):
    """Targets by pool, and the pools left out because a credential is missing: pool -> variable."""

    targets: dict[str, tuple[Target, ...]]
    without_credential: dict[str, str]


def variable_of(credential: str) -> str:
    """The environment variable that holds a credential, e.g. TIELINE_CREDENTIAL_AZURE_EU for azure-eu."""
    return CREDENTIAL_PREFIX + re.sub(r"[^A-Za-z0-9]", "_", credential).upper()


def plan(policy: Policy, environment: Mapping[str, str], only: Iterable[str] = ()) -> Plan:
    """Every pool (or ``only`` those named) with every model name that it serves.

    A pool whose credential is missing is left out: probing it without one would accuse it of refusing us.
    Raises ProbeError for an unknown pool, and when nothing is left.
    """
    wanted = sorted(set(only))
    known = {pool.id: pool for pool in policy.pools}
    for name in wanted:
        if name not in known:
            raise ProbeError(f"Pool {name} is not in the policy; it has {', '.join(sorted(known))}.")
    targets: dict[str, tuple[Target, ...]] = {}
    missing: dict[str, str] = {}
    for name in wanted or sorted(known):
        pool = known[name]
        variable = variable_of(pool.credential)
        if pool.credential and not environment.get(variable):
            missing[name] = variable
        else:
            targets[name] = _targets(pool, environment.get(variable, "") if pool.credential else "")
    if not targets:
        raise ProbeError(f"Nothing can be probed: set {', '.join(sorted(set(missing.values())))}.")
    return Plan(targets, missing)


def source(policy: Policy, name: str | None) -> str:
    """The registered source under which this prober speaks; without a name the policy's first prober.

    Raises ProbeError.
    """
    probers = [one.id for one in policy.sources if one.kind == "probe"]
    if not probers:
        raise ProbeError("The policy registers no prober: add a source with kind: probe.")
    if name is None:
        return probers[0]
    if name not in probers:
        raise ProbeError(f"Source {name} is not a prober of the policy; it has {', '.join(probers)}.")
    return name


def _targets(pool: Pool, secret: str) -> tuple[Target, ...]:
    names = dict.fromkeys(offer.name for offer in pool.models)
    return tuple(Target(pool.id, pool.url, pool.adapter, name, secret) for name in names)
