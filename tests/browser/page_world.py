"""A page to look at without Kafka: the planner's own world, drawn as `tieline web` draws it, and served."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from controller.core.inspect.alarms import alarms
from controller.core.policy.policy import Policy, encode_policy, version_of
from controller.core.snapshot import Ready
from controller.decisions.record import Step
from controller.history.conditions import Observation, changes, standing_conditions
from controller.history.decided import decision_entry
from controller.history.entries import Entry
from controller.leading.presence import Presence
from controller.policy_file import load_policy
from controller.process.clock import now_ms
from controller.process.listening import Listen
from controller.routes.record import RoutesRecord
from controller.status.controllers import ControllerRow
from controller.status.gather import FromKafka, status_of
from controller.status.leadership import LeaderRow
from controller.status.live import Moment, snapshot_of
from controller.status.outlook import outlook_of
from controller.status.redis_side import FromRedis
from controller.web.admission import Bounds, Tokens
from controller.web.answers import Answers
from controller.web.board import Board
from controller.web.live import View, sections_of
from controller.web.page import Page
from controller.web.picture import Picture
from controller.web.server import Server
from controller.web.visitors import ProxyTrust, Visitors
from streams.store import Contents
from tests.places import EXAMPLE_POLICY
from tests.scenarios.world import World
from tieline.events import Command

HOUR_MS = 3_600_000
CONTROLLER = "a171a927c0"


class ToldWorld(World):
    """A world that keeps what a controller would write into the history, by the same rules."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.entries: list[Entry] = []
        self._standing: dict[str, Entry] = {}

    def decide(self) -> Ready:
        """As in any world; then it tells what the step did and what stands after it."""
        snapshot = self.snapshot()
        ready = super().decide()
        assert self.table is not None
        demand = self.planner.demand()
        entry = decision_entry(Step(self.now_ms, snapshot, ready, published=self.table), demand, CONTROLLER)
        due = alarms(snapshot, ready.memory, self.now_ms)
        observation = Observation(
            self.now_ms, snapshot.commands, due, holding=None, table=self.table, demand=demand
        )
        standing = standing_conditions(observation, self._standing)
        self.entries += changes(self._standing, standing, self.now_ms)
        self.entries += [entry] if entry is not None else []
        self._standing = standing
        return ready


def example_world() -> ToldWorld:
    """Four providers in five geographies under the demand that the example policy expects."""
    return world_of(load_policy(EXAMPLE_POLICY))


def large_world(pools: int = 200) -> ToldWorld:
    """Four providers with as many pools in all, in the geographies of the example policy."""
    policy = load_policy(EXAMPLE_POLICY)
    rounds = -(-pools // len(policy.pools))
    copies = [
        replace(pool, id=f"{pool.provider}/{pool.region}-{number:02}/{pool.id.split('/')[2]}", quota_group="")
        for number in range(rounds)
        for pool in policy.pools
    ]
    workloads = tuple(
        replace(
            workload,
            expected_units_per_s={
                name: units * rounds * 0.8 for name, units in workload.expected_units_per_s.items()
            },
            last_resort=(),
        )
        for workload in policy.workloads
    )
    return world_of(replace(policy, pools=tuple(copies[:pools]), workloads=workloads, quota_groups=()))


def world_of(policy: Policy) -> ToldWorld:
    """A world under the demand that the policy expects, settled."""
    world = ToldWorld(policy, now_ms=now_ms() // 1_000 * 1_000 - 60_000)
    world.took_office_ms = world.now_ms
    world.settle(60_000)
    return world


def order(world: World, verb: str, scope: str, reason: str) -> None:
    """An operator gives an order for an hour."""
    world.commands.append(
        Command(
            id=f"cmd-{len(world.commands)}",
            verb=verb,  # type: ignore[arg-type]
            scope=scope,
            actor="amara",
            reason=reason,
            issued_ms=world.now_ms,
            expires_ms=world.now_ms + HOUR_MS,
        )
    )


class PageWorld:
    """A world and the picture that the page shows of it."""

    def __init__(self, world: ToldWorld) -> None:
        self.world = world
        self.picture = Picture()

    def draw(self, *, with_outlook: bool = True) -> None:
        """Shows the world as it is now."""
        world, snapshot = self.world, self.world.snapshot()
        assert world.table is not None
        record = RoutesRecord(
            world.table.generation,
            world.table.made_ms,
            world.table,
            memory=world.memory,
            policy=encode_policy(world.policy),
            policy_version=version_of(world.policy),
            orders=snapshot.commands,
        )
        contents = Contents(
            snapshot.reports,
            snapshot.statements,
            snapshot.capacities,
            demand=tuple(replace(row, generations=self._generations()) for row in snapshot.demand),
            progress=snapshot.progress,
            run="r",
        )
        leader = LeaderRow(world.epoch, world.now_ms - 300, CONTROLLER, resigned=False)
        status = status_of(
            FromKafka(
                record,
                leader,
                snapshot.commands,
                dead_letters=None,
                controllers=self._controllers(record.policy_version),
            ),
            FromRedis(contents),
            world.now_ms,
        )
        moment = Moment(world.now_ms, snapshot_of(record, contents, snapshot.commands))
        outlook = outlook_of(moment.snapshot, moment.at_ms) if with_outlook else None
        view = View(status, contents, moment.snapshot, outlook=outlook, timeline=tuple(world.entries))
        self.picture.show(sections_of(view), world.now_ms, moment)

    def _generations(self) -> dict[str, int]:
        """All clients have the newest table but one."""
        assert self.world.table is not None
        newest, clients = self.world.table.generation, len(self.world.client_names())
        before = replace(newest, seq=max(newest.seq - 1, 1))
        return {str(newest): clients} if before == newest else {str(newest): clients - 1, str(before): 1}

    def _controllers(self, policy_version: str) -> tuple[ControllerRow, ...]:
        """One leads and one stands by."""
        rows = []
        for number, identity in enumerate((CONTROLLER, "5c0e11d2f4")):
            presence = Presence(
                identity=identity,
                host=f"tieline-{number}",
                pid=100 + number,
                version="0.1.0",
                started_ms=self.world.now_ms - HOUR_MS,
                lineage=self.world.policy.lineage,
                policy_version=policy_version,
                checked=True,
            )
            state = "stands by" if number else "leads"
            rows.append(ControllerRow(state, self.world.now_ms - 300, presence))
        return tuple(rows)

    def pass_time(self, seconds: int) -> None:
        """Time passes with a decision in each second, then the picture is drawn."""
        list(self.world.run(seconds * 1_000))
        self.draw()


@asynccontextmanager
async def page_of(
    picture: Picture, *, tokens: Tokens | None = None, proxy: ProxyTrust | None = None
) -> AsyncIterator[str]:
    """A page that shows this picture, at the URL that is given. Without tokens everybody here may look."""
    held, trust, bounds = tokens or Tokens(None, {}), proxy or ProxyTrust(), Bounds()
    answers = Answers(Board(), None, bounds=bounds, tokens=held)
    page = Page(picture, answers.streams, Visitors(held, trust), proxy=trust, secure=False)
    async with Server(Listen("127.0.0.1", 0), answers, bounds, page=page).listening() as url:
        yield url
