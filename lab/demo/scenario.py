"""PURE: the demo as data: what is done to which stand-in, which condition ends a phase, and its deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import Struct

from controller.core.policy.policy import Policy
from lab.demo.picture import Picture

Deed: TypeAlias = Literal["freeze", "thaw", "kill", "revive", "halve", "restore"]
TRICKLE_SHARE = 0.02  # what a pool that has been emptied may still get
OVERLOADED = 1.05
FAST_FACTOR = 0.4
POOLS_HEALTHY = "every pool healthy"


class Act(Struct, frozen=True):
    """A deed done to the stand-in of one provider/region."""

    deed: Deed
    region: str


class Phase(Struct, frozen=True):
    """A part of the run. It lasts at least ``least_s``, then until ``until`` holds or the deadline passes.

    ``goal`` says in words what ``until`` waits for.
    """

    name: str
    acts: tuple[Act, ...]
    until: Callable[[Picture, int], bool]
    least_s: float
    deadline_s: float
    goal: str


class Roles(Struct, frozen=True):
    """Who suffers: a region that hangs, a provider that fails, a provider that loses half its capacity."""

    hangs: str
    fails: str
    shrinks: str


DEMO_ROLES = Roles(hangs="azure/swedencentral", fails="gcp", shrinks="coreweave")
DEMO_POOLS = (
    "azure/eastus2/gpt-4o",
    "azure/westus3/gpt-4o",
    "azure/swedencentral/gpt-4o",
    "azure/norwayeast/gpt-4o",
    "azure/japaneast/gpt-4o",
    "gcp/us-central1/gemini-pro",
    "gcp/europe-west4/gemini-pro",
    "oci/us-chicago-1/gpt-oss",
    "oci/uk-london-1/gpt-oss",
    "coreweave/us-east-04/gpt-oss",
    "coreweave/eu-north-1/gpt-oss",
)


def regions(policy: Policy, place: str) -> tuple[str, ...]:
    """The provider/regions of the policy in ``place``, which is a provider or one provider/region; sorted."""
    regions = {f"{pool.provider}/{pool.region}" for pool in policy.pools}
    return tuple(sorted(region for region in regions if region == place or region.startswith(place + "/")))


def pools_of(policy: Policy, place: str) -> tuple[str, ...]:
    """The ids of the pools in a provider or a provider/region."""
    return tuple(pool.id for pool in policy.pools if pool.id.startswith(place + "/"))


def emptied(*places: str) -> Callable[[Picture, int], bool]:
    """Whether the table sends no more than a trickle to these places."""
    prefixes = tuple(f"{place}/" for place in places)

    def is_emptied(picture: Picture, _now_ms: int) -> bool:
        shares = picture.shares()
        return sum(share for pool, share in shares.items() if pool.startswith(prefixes)) <= TRICKLE_SHARE

    return is_emptied


def within_capacity(place: str) -> Callable[[Picture, int], bool]:
    """Whether the pools of a place get no more than they can serve, and throttle nothing."""

    def is_within(picture: Picture, now_ms: int) -> bool:
        views = [view for view in picture.views(now_ms) if view.pool.startswith(place + "/")]
        return all(
            view.tokens_per_s <= OVERLOADED * view.capacity_per_s and view.throttled_per_s == 0
            for view in views
        )

    return is_within


def all_healthy(picture: Picture, now_ms: int) -> bool:
    """Whether every pool is healthy, by the planner's memory."""
    return all(view.state == "healthy" for view in picture.views(now_ms))


def calm_start(least_s: float) -> Phase:
    """The beginning of every run: no fault, until every pool is healthy."""
    return Phase("no faults", (), all_healthy, least_s=least_s, deadline_s=20, goal=POOLS_HEALTHY)


def phases(policy: Policy, roles: Roles, *, fast: bool = False) -> tuple[Phase, ...]:
    """The demo: no fault, a region hangs, a provider fails, another shrinks, and all of them recover."""
    factor = FAST_FACTOR if fast else 1.0
    failing, shrinking = regions(policy, roles.fails), regions(policy, roles.shrinks)
    return (
        calm_start(7 * factor),
        Phase(
            f"{roles.hangs} hangs (SIGSTOP)",
            (Act("freeze", roles.hangs),),
            emptied(roles.hangs),
            least_s=7 * factor,
            deadline_s=20,
            goal="its traffic moved elsewhere",
        ),
        Phase(
            f"{roles.fails} fails (SIGKILL)",
            tuple(Act("kill", region) for region in failing),
            emptied(roles.hangs, roles.fails),
            least_s=6 * factor,
            deadline_s=15,
            goal="its traffic moved elsewhere",
        ),
        Phase(
            f"{roles.shrinks} loses half its capacity",
            tuple(Act("halve", region) for region in shrinking),
            within_capacity(roles.shrinks),
            least_s=7 * factor,
            deadline_s=15,
            goal="its load within its capacity",
        ),
        Phase(
            "everything recovers",
            (
                Act("thaw", roles.hangs),
                *(Act("revive", region) for region in failing),
                *(Act("restore", region) for region in shrinking),
            ),
            all_healthy,
            least_s=8 * factor,
            deadline_s=30,
            goal=POOLS_HEALTHY,
        ),
    )
