"""The demo as data: what is done to whom, what is waited for, and for how long at most. PURE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import Struct

from controller.core.policy.policy import Policy
from lab.demo.picture import Picture

Deed: TypeAlias = Literal["freeze", "thaw", "kill", "revive", "halve", "restore"]
STILL_SHARE = 0.02  # the trickle that a pool may keep
OVERLOADED = 1.05


class Act(Struct, frozen=True):
    """A deed done to the stand-in of one provider/region."""

    deed: Deed
    region: str


class Phase(Struct, frozen=True):
    """``least_s``: shown at least so long. ``until``: the condition that ends it, or its deadline does."""

    name: str
    acts: tuple[Act, ...]
    until: Callable[[Picture, int], bool]
    least_s: float
    deadline_s: float
    waits_for: str


class Roles(Struct, frozen=True):
    """Who suffers: a region that hangs, a provider that fails, a provider whose capacity halves."""

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


def regions(policy: Policy, prefix: str) -> tuple[str, ...]:
    """The provider/regions of a provider, or the one named."""
    found = {f"{pool.provider}/{pool.region}" for pool in policy.pools}
    return tuple(sorted(one for one in found if one == prefix or one.startswith(prefix + "/")))


def pools_of(policy: Policy, region: str) -> tuple[str, ...]:
    """Pool ids in a provider/region or of a provider."""
    return tuple(pool.id for pool in policy.pools if pool.id.startswith(region + "/"))


def emptied(*places: str) -> Callable[[Picture, int], bool]:
    """The table sends these places no more than a trickle."""

    def check(picture: Picture, _now_ms: int) -> bool:
        shares = picture.shares()
        left = sum(share for pool, share in shares.items() if pool.startswith(tuple(f"{p}/" for p in places)))
        return left <= STILL_SHARE

    return check


def fitting(place: str) -> Callable[[Picture, int], bool]:
    """What comes to these pools is no more than they can give."""

    def check(picture: Picture, now_ms: int) -> bool:
        views = [view for view in picture.views(now_ms) if view.pool.startswith(place + "/")]
        return all(
            view.tokens_per_s <= OVERLOADED * view.capacity_per_s and view.throttled_per_s == 0
            for view in views
        )

    return check


def serving(picture: Picture, now_ms: int) -> bool:
    """Every pool is known to be healthy."""
    return all(view.state == "healthy" for view in picture.views(now_ms))


def phases(policy: Policy, roles: Roles, *, fast: bool = False) -> tuple[Phase, ...]:
    """The demo: steady, hang, failure, shrinking, recovery."""
    pause = 0.4 if fast else 1.0
    failed, shrunk = regions(policy, roles.fails), regions(policy, roles.shrinks)
    return (
        Phase("steady", (), serving, 7 * pause, 20, "every pool healthy"),
        Phase(
            f"{roles.hangs} hangs (SIGSTOP)",
            (Act("freeze", roles.hangs),),
            emptied(roles.hangs),
            7 * pause,
            20,
            "its traffic gone",
        ),
        Phase(
            f"{roles.fails} fails (SIGKILL)",
            tuple(Act("kill", region) for region in failed),
            emptied(roles.hangs, roles.fails),
            6 * pause,
            15,
            "its traffic gone",
        ),
        Phase(
            f"{roles.shrinks} has half its capacity",
            tuple(Act("halve", region) for region in shrunk),
            fitting(roles.shrinks),
            7 * pause,
            15,
            "its load within what it can give",
        ),
        Phase(
            "all recovers",
            (
                Act("thaw", roles.hangs),
                *(Act("revive", region) for region in failed),
                *(Act("restore", region) for region in shrunk),
            ),
            serving,
            8 * pause,
            30,
            "every pool healthy again",
        ),
    )
