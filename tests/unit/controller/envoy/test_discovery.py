"""What Envoy's polls are answered with, and when."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from controller.envoy.discovery import (
    CLUSTERS,
    ENDPOINTS,
    LISTENERS,
    ROUTES,
    Discovery,
    Key,
    Offer,
    Poll,
    Waits,
)
from controller.envoy.plan import EnvoyPlan
from controller.envoy.resources import Resources, resources
from controller.envoy.routes import ROUTES as ROUTE_TABLE
from tests.unit.controller.envoy.made_plans import places, plan_of, random_table
from tests.waiting import SAFETY_NET_S, until

DIRECTORY = Path("/var/lib/tieline/envoy")
TURNS_TO_TAKE_OVER = 20  # of the loop, by an Envoy for clusters and listeners
TOLD_WITHIN_S = 30  # a safety net
AT_ONCE = Waits(held_s=0.0, taken_over_s=0.0, refused_s=0.0)
ALL_CLUSTERS, ALL_LISTENERS, FRONT_ROUTES = (CLUSTERS, ""), (LISTENERS, ""), (ROUTES, ROUTE_TABLE)


def made(seed: int) -> Resources:
    """The resources of a random table, as Envoy asks for them."""
    return resources(plan_of(random_table(seed)), replace(places(DIRECTORY), is_served=True))


def reweighted(plan: EnvoyPlan) -> EnvoyPlan:
    """The same pools with other weights."""
    lanes = tuple(
        replace(
            lane,
            shares=replace(
                lane.shares,
                pools=tuple(replace(share, weight=share.weight + 1) for share in lane.shares.pools),
            ),
        )
        for lane in plan.lanes
    )
    return replace(plan, lanes=lanes)


def rows_of(offer: Offer | None) -> list[dict[str, Any]]:
    """The resources of an answer."""
    assert offer is not None
    answer = msgspec.json.decode(offer.body)
    assert answer["version_info"] == offer.version
    rows: list[dict[str, Any]] = answer["resources"]
    return rows


class AskingEnvoy:
    """An Envoy that asks for what it has been told of, as the real one does."""

    def __init__(self, discovery: Discovery, node: str = "envoy-1") -> None:
        self._discovery = discovery
        self._node = node
        self.rows: dict[Key, list[dict[str, Any]]] = {}
        self.breaches: list[str] = []
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Ask for everything that the bootstrap file names."""
        for key in (ALL_CLUSTERS, ALL_LISTENERS, FRONT_ROUTES):
            self._ask(key)

    async def stop(self) -> None:
        """Ask for nothing any more."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _ask(self, key: Key) -> None:
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._keep_asking(key))

    async def _keep_asking(self, key: Key) -> None:
        version = ""
        while True:
            offer = await self._discovery.answer(Poll(key, self._node, version))
            if offer is None:
                continue
            if key in (ALL_CLUSTERS, ALL_LISTENERS):
                for _ in range(TURNS_TO_TAKE_OVER):
                    await asyncio.sleep(0)
            version, self.rows[key] = offer.version, rows_of(offer)
            self._follow(key)
            self._check()

    def _follow(self, key: Key) -> None:
        if key == ALL_CLUSTERS:
            for row in self.rows[key]:
                if row["type"] == "EDS":
                    self._ask((ENDPOINTS, row["name"]))
        elif key == ALL_LISTENERS:
            for row in self.rows[key]:
                self._ask((ROUTES, row["name"].removeprefix("pool/")))

    def _check(self) -> None:
        """Whatever the route table names is there."""
        table = self.rows.get(FRONT_ROUTES)
        if not table or ALL_CLUSTERS not in self.rows:
            return
        clusters = {row["name"] for row in self.rows[ALL_CLUSTERS]}
        used = {
            entry["route"]["cluster"] for entry in table[0]["virtual_hosts"][0]["routes"] if "route" in entry
        }
        if used - clusters:
            self.breaches.append(f"clusters that are not there: {used - clusters}")

    def has(self, wanted: Resources) -> bool:
        """Whether it has exactly these clusters and listeners, this route table and these endpoints."""
        return (
            self.rows.get(ALL_CLUSTERS) == list(wanted.clusters.values())
            and self.rows.get(ALL_LISTENERS) == list(wanted.listeners.values())
            and self.rows.get(FRONT_ROUTES) == list(wanted.routes.values())
            and all(self.rows.get((ENDPOINTS, name)) == [row] for name, row in wanted.endpoints.items())
        )


async def settled(envoy: AskingEnvoy, wanted: Resources) -> None:
    """Turns of the loop until an Envoy has everything."""
    for _ in range(2_000):
        if envoy.has(wanted):
            return
        await asyncio.sleep(0)
    raise AssertionError("the Envoy has not got everything")


async def test_an_envoy_gets_what_its_files_would_say_in_a_safe_order() -> None:
    """Through one table after another that have nothing in common: no route names a cluster that this Envoy
    has not heard of."""
    discovery = Discovery()
    envoy = AskingEnvoy(discovery)
    envoy.start()
    for seed in range(12):
        wanted = made(seed)
        assert await discovery.put(wanted, has_table=True)
        await settled(envoy, wanted)
    assert envoy.breaches == []
    assert discovery.refused == 0
    await envoy.stop()


async def test_other_weights_are_one_answer_and_nothing_new_is_none() -> None:
    """Polls about everything else go on waiting."""
    plan = plan_of(random_table(3))
    discovery = Discovery()
    first = resources(plan, places(DIRECTORY))
    await discovery.put(first, has_table=True)
    assert await discovery.put(first, has_table=True) == ()
    changed = await discovery.put(resources(reweighted(plan), places(DIRECTORY)), has_table=True)
    assert changed
    assert all(name.startswith(f"{ENDPOINTS}/") for name in changed)


async def test_an_envoy_that_has_the_newest_waits() -> None:
    """It is told so after a while, and asks again. One that has nothing is answered at once."""
    discovery = Discovery(AT_ONCE)
    await discovery.put(made(3), has_table=True)
    offer = await discovery.answer(Poll(ALL_CLUSTERS, "envoy-1"))
    assert offer is not None
    assert await discovery.answer(Poll(ALL_CLUSTERS, "envoy-1", offer.version)) is None
    assert await discovery.answer(Poll((ENDPOINTS, "of a lane that is gone"), "envoy-1")) is None
    assert discovery.held == 0


async def test_the_same_table_after_a_restart_is_nothing_new() -> None:
    """Versions are digests, so that Envoys that outlived a process are told nothing that they know."""
    first, second = Discovery(AT_ONCE), Discovery(AT_ONCE)
    await first.put(made(3), has_table=True)
    offer = await first.answer(Poll(ALL_CLUSTERS, "envoy-1"))
    assert offer is not None
    await second.put(made(3), has_table=True)
    assert await second.answer(Poll(ALL_CLUSTERS, "envoy-1", offer.version)) is None


async def test_without_a_table_only_newcomers_are_told_so() -> None:
    """An Envoy that has a table keeps it until there is another."""
    discovery = Discovery(AT_ONCE)
    await discovery.put(made(3), has_table=False)
    assert await discovery.answer(Poll(ALL_CLUSTERS, "new")) is not None
    assert await discovery.answer(Poll(ALL_CLUSTERS, "old", "of an earlier process")) is None
    await discovery.put(made(3), has_table=True)
    assert await discovery.answer(Poll(ALL_CLUSTERS, "old", "of an earlier process")) is not None


async def test_an_envoy_that_outlived_a_process_is_told_the_first_table() -> None:
    """At once, though it had asked before, and nothing has changed since newcomers were told."""
    discovery = Discovery(Waits(held_s=10 * SAFETY_NET_S))
    await discovery.put(made(3), has_table=False)
    waiting = asyncio.create_task(discovery.answer(Poll(ALL_CLUSTERS, "old", "of an earlier process")))
    await until(lambda: discovery.held, what="a poll that waits")
    await discovery.put(made(3), has_table=True)
    async with asyncio.timeout(TOLD_WITHIN_S):
        assert await waiting is not None


async def test_an_envoy_that_refuses_is_counted_and_told_again() -> None:
    """A little later, as an answer may also have been lost on its way."""
    discovery = Discovery(AT_ONCE)
    await discovery.put(made(3), has_table=True)
    first = await discovery.answer(Poll(ALL_CLUSTERS, "envoy-1", "former"))
    assert first is not None
    assert discovery.refused == 0
    assert await discovery.answer(Poll(ALL_CLUSTERS, "envoy-1", "former")) == first
    assert discovery.refused == 1


async def test_an_envoy_that_takes_nothing_over_delays_the_others_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From then on nobody waits for it until it asks again; the others get everything."""
    discovery = Discovery(AT_ONCE)
    await discovery.put(made(3), has_table=True)
    await discovery.answer(Poll(ALL_CLUSTERS, "gone"))
    for seed in (4, 5):
        await discovery.put(made(seed), has_table=True)
    assert capsys.readouterr().out.count("has not taken over") == 1
    envoy = AskingEnvoy(discovery)
    envoy.start()
    await settled(envoy, made(5))
    await envoy.stop()
