"""What to probe, out of the policy and the secrets at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from controller.core.policy.policy import Policy, Pool
from controller.probe.request import ProbeTarget
from tieline.credentials import (
    Credentials,
    MissingCredentialError,
    SecretFileError,
    secret_file,
    variable_of,
)


class ProbeError(ValueError):
    """The prober can't start: one sentence with the remedy."""


class ProbePlan(NamedTuple):
    """Targets by pool, and the pools left out because their secret is missing: pool -> environment
    variable."""

    targets: dict[str, tuple[ProbeTarget, ...]]
    without_secret: dict[str, str]


def secret_files(policy: Policy, environment: Mapping[str, str]) -> dict[str, Callable[[], str]]:
    """The policy's credentials that are files: ``TIELINE_CREDENTIAL_<NAME>_FILE`` names the file.

    Each is read anew once a minute, so that a secret that was replaced is noticed. Raises ProbeError for a
    file that can't be read.
    """
    sources: dict[str, Callable[[], str]] = {}
    for name in sorted({pool.credential for pool in policy.pools if pool.credential}):
        if (read := secret_file(name, environment)) is not None:
            sources[name] = read
            try:
                read()
            except SecretFileError as error:
                raise ProbeError(str(error)) from None
    return sources


def plan(policy: Policy, credentials: Credentials, only: Iterable[str] = ()) -> ProbePlan:
    """Every pool (or ``only`` those named) with every model name that it serves.

    A pool whose secret is missing, or is such that no header can carry it, is left out: probing it without
    one would accuse it of refusing us. Raises ProbeError for an unknown pool, and when nothing is left.
    """
    names = sorted(set(only))
    pools = {pool.id: pool for pool in policy.pools}
    for name in names:
        if name not in pools:
            raise ProbeError(f"Pool {name} is not in the policy; it has {', '.join(sorted(pools))}.")
    targets: dict[str, tuple[ProbeTarget, ...]] = {}
    missing: dict[str, str] = {}
    for name in names or sorted(pools):
        credential = pools[name].credential
        if credential and not _has_secret(credentials, credential):
            missing[name] = variable_of(credential)
        else:
            targets[name] = _targets(pools[name])
    if not targets:
        raise ProbeError(f"Nothing can be probed: set {', '.join(sorted(set(missing.values())))}.")
    return ProbePlan(targets, missing)


def source(policy: Policy, name: str | None) -> str:
    """The registered source under which this prober speaks; without a name the policy's first prober.

    Raises ProbeError.
    """
    probers = [source.id for source in policy.sources if source.kind == "probe"]
    if not probers:
        raise ProbeError("The policy registers no prober: add a source with kind: probe.")
    if name is None:
        return probers[0]
    if name not in probers:
        raise ProbeError(f"Source {name} is not a prober of the policy; it has {', '.join(probers)}.")
    return name


def _has_secret(credentials: Credentials, name: str) -> bool:
    """A secret that a function gives counts: whether it does shows when it is called."""
    try:
        credentials.at_hand(name)
    except MissingCredentialError:
        return False
    return True


def _targets(pool: Pool) -> tuple[ProbeTarget, ...]:
    names = dict.fromkeys(offer.name for offer in pool.models)
    return tuple(
        ProbeTarget(
            pool.id,
            pool.url,
            pool.adapter,
            model=name,
            credential=pool.credential,
            price_per_million_units=pool.price_per_million_units,
        )
        for name in names
    )
