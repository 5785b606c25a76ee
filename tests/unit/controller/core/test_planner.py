"""A decision as a whole: what it needs, what it leaves alone, and that it is the same every time."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import msgspec
from msgspec.structs import replace

from controller.core.assessment import Assessment
from controller.core.model.reasons import Reason, State
from controller.core.moves.held_table import HeldTable
from controller.core.planner import step
from controller.core.snapshot import Office, Snapshot
from controller.policy_file import load_policy
from tests.places import ROOT
from tests.scenarios.world import START_MS, World
from tieline.events import Command
from tieline.table import Generation, check

SMALL = ROOT / "tests" / "scenarios" / "policies" / "small.yaml"


def world(seconds: int = 20) -> World:
    """The scenarios' small world, with demand, after a while."""
    made = World(load_policy(SMALL))
    made.decide()
    for workload in made.policy.workloads:
        for origin in made.policy.origins:
            made.demand[workload.id, origin.id] = workload.expected_units_per_s[origin.id]
    for _ in made.run(seconds * 1000):
        pass
    return made


def test_on_loss_is_decided_anew_only_on_evidence_that_was_read() -> None:
    """Neither while a partition is behind, nor while nobody says how far any partition was read."""
    made = world(60)
    assert made.memory is not None
    period_ms = made.policy.thresholds.on_loss_period_ms
    while made.now_ms - made.memory.on_loss_ms < period_ms - 1_000:
        for _ in made.run(1_000):
            pass
    at_ms = made.memory.on_loss_ms + period_ms
    snapshot = made.snapshot()
    behind = replace(snapshot.progress[0], end_offset=snapshot.progress[0].end_offset + 1)
    looked_at = {
        name: step(replace(snapshot, progress=progress), at_ms).memory.on_loss_ms
        for name, progress in (
            ("read", snapshot.progress),
            ("behind", (behind, *snapshot.progress[1:])),
            ("unknown", ()),
        )
    }
    before_ms = made.memory.on_loss_ms
    assert looked_at == {"read": at_ms, "behind": before_ms, "unknown": before_ms}


def test_the_first_table_comes_from_the_policy_alone() -> None:
    """Half of the committed capacity, no evidence needed, numbered as the office says."""
    policy = load_policy(ROOT / "examples" / "multicloud.yaml")
    ready = step(Snapshot(policy, Office("multicloud-1", 7, 1, START_MS, START_MS)), START_MS)
    assert ready.table is not None
    check(ready.table)
    assert ready.table.generation == Generation("multicloud-1", 7, 1)
    assert [verdict.reason for verdict in ready.decisions] == [Reason.FIRST_TABLE]
    assert all(not route.split.shed for route in ready.table.routes)
    assert all(route.on_loss for route in ready.table.routes)


def test_a_published_table_is_read_before_the_next_decision() -> None:
    """What its ``on_loss`` counts on is known by then, and the next decision takes the same object."""
    made = World(load_policy(SMALL))
    made.decide()
    memo, table = made.planner.memo, made.table
    assessment = memo.last(Assessment)
    assert assessment is not None
    assert table is not None
    read = memo.once(HeldTable, assessment.compiled, table)
    assert "counted_on" in vars(read)
    made.decide()
    assert made.table is table
    assert memo.once(HeldTable, assessment.compiled, table) is read


def test_nothing_is_decided_before_the_tables_are_read() -> None:
    """After a take-over the table is held, whatever fails meanwhile, and that is said."""
    made = world()
    made.settled = False
    made.pools["gcp/netherlands/gem"].errors = 1.0
    readies = list(made.run(5_000))
    assert all(ready.table is None and not ready.memory_changed for ready in readies)
    assert readies[-1].decisions[0].reason is Reason.NOT_SETTLED


def test_without_news_nothing_is_published_and_nothing_to_be_remembered() -> None:
    """A step that changes nothing costs no record: the same memory, no table."""
    made = world(60)
    ready = made.decide()
    assert (ready.table, ready.memory_changed) == (None, False)
    assert ready.memory is made.memory


def test_a_forced_move_is_urgent_and_its_on_loss_follows() -> None:
    """The urgent table patches on_loss; a second later one that is not urgent has it decided anew."""
    made = world(60)
    made.pools["gcp/netherlands/gem"].errors = 1.0
    urgent = next(ready for ready in made.run(5_000) if ready.table is not None)
    assert urgent.urgent
    assert urgent.memory.on_loss_due
    assert urgent.wake_ms is not None
    assert urgent.wake_ms <= made.now_ms + 1_000
    assert urgent.table is not None
    lost = [info.pool for info in urgent.table.pools].index("gcp/netherlands/gem")
    for route in urgent.table.routes:
        assert all(lost not in split.pools for split in (route.split, *route.on_loss.values()))
    after = next(ready for ready in made.run(5_000) if ready.table is not None)
    assert not after.urgent
    assert not after.memory.on_loss_due


def test_on_loss_counts_on_pools_as_soon_as_they_serve() -> None:
    """Also while load may not move by choice, as in the first seconds of a leader: no load moves by it, and a
    provider that is lost then would find clients without another pool."""
    made = World(load_policy(SMALL))
    made.voluntary_after_ms = made.now_ms + 3_600_000
    made.decide()
    assert made.table is not None
    chat = made.table.routes[0]
    assert all(split.shed for split in chat.on_loss.values())  # nobody has seen the pools yet
    for _ in made.run(4_000):
        pass
    assert made.publications == 2
    assert made.table.routes[0].split == chat.split
    assert not any(split.shed for split in made.table.routes[0].on_loss.values())


def test_untouched_routes_keep_the_very_split_they_had() -> None:
    """What a loss in Europe does not concern stays the same object, and so the same bytes."""
    made = world(60)
    assert made.table is not None
    before = {route.name: route.split for route in made.table.routes}
    made.pools["gcp/netherlands/gem"].errors = 1.0
    ready = next(ready for ready in made.run(5_000) if ready.table is not None)
    assert ready.table is not None
    after = {route.name: route.split for route in ready.table.routes}
    for name in ("chat/us", "api/us", "batch/us", "api/eu"):
        assert after[name] is before[name]
    assert after["chat/eu"] != before["chat/eu"]


def test_a_new_policy_is_followed_at_once() -> None:
    """A pool that the policy no longer has loses its load, which finds a place like any other."""
    made = world(60)
    kept = tuple(pool for pool in made.policy.pools if pool.id != "oci/london/oss")
    made.policy = replace(made.policy, pools=kept)
    ready = made.decide()
    assert ready.table is not None
    check(ready.table)
    assert ready.urgent
    assert "oci/london/oss" not in [info.pool for info in ready.table.pools]
    assert all(not route.split.shed for route in ready.table.routes)
    assert Reason.POLICY_CHANGED in {verdict.reason for verdict in ready.decisions}


def test_a_new_contract_binds_what_clients_would_do_by_themselves() -> None:
    """A policy that forbids no weight in force, but an on_loss, is followed at once as well."""
    made = world(60)
    made.policy = replace(
        made.policy,
        workloads=tuple(
            replace(one, allowed_geographies=("eu", "us")) if one.id == "chat" else one
            for one in made.policy.workloads
        ),
    )
    ready = made.decide()
    assert ready.table is not None
    london = [info.pool for info in ready.table.pools].index("oci/london/oss")
    for route in ready.table.routes:
        if route.workload == "chat":
            assert all(london not in split.pools for split in (route.split, *route.on_loss.values()))
    assert not made.decide().urgent


def test_observed_providers_are_told_of_and_left_alone() -> None:
    """Mode observe: the state is found, the weights stay."""
    made = world(60)
    providers = tuple(replace(p, mode="observe") if p.id == "gcp" else p for p in made.policy.providers)
    made.policy = replace(made.policy, providers=providers)
    made.decide()
    assert made.table is not None
    before = [route.split for route in made.table.routes]
    made.pools["gcp/netherlands/gem"].errors = 1.0
    for _ in made.run(5_000):
        pass
    assert made.memory is not None
    assert made.memory.pools["gcp/netherlands/gem"].state is State.DOWN
    assert [route.split for route in made.table.routes] == before


def bytes_of_a_decision() -> str:
    """The digest of a decision with losses in it; run in other processes with other hash seeds."""
    made = world()
    made.pools["gcp/netherlands/gem"].errors = 1.0
    made.pools["azure/norway/gpt"].stated = 200.0
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    return "".join(encode(ready).hex() for ready in made.run(20_000))


def test_the_same_snapshot_gives_the_same_bytes_in_every_process() -> None:
    """No set's order, no address and no hash seed gets into a decision."""
    with ThreadPoolExecutor() as side_by_side:
        of_other_processes = set(side_by_side.map(_bytes_with_hash_seed, ("1", "77")))
    assert of_other_processes == {bytes_of_a_decision()}


def _bytes_with_hash_seed(seed: str) -> str:
    code = "from tests.unit.controller.core.test_planner import bytes_of_a_decision as b; print(b())"
    path = os.pathsep.join([str(ROOT), str(ROOT / "client")])
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return ended.stdout.strip()


def test_a_new_leader_moves_by_choice_only_after_a_whole_report_window() -> None:
    """Something is due to move, and its predecessor's last move by choice is long ago."""
    made = world(60)
    made.commands.append(Command("one", "drain", "gcp", "root", "patching", made.now_ms, made.now_ms + 5_000))
    for _ in made.run(5_000):
        pass
    made.take_over()
    made.voluntary_after_ms = made.now_ms + 15_000
    moved = [ready.table is not None and not ready.urgent for ready in made.run(20_000)]
    assert moved.index(True) == 14


def test_sheddable_load_comes_back_once_in_a_shift_period() -> None:
    """Room that comes and goes from second to second must not stir what can wait."""
    made = world(60)
    for pool in made.pools.values():
        pool.stated = 300.0
    for _ in made.run(10_000):
        pass
    assert made.table is not None
    assert any(route.split.shed for route in made.table.routes if route.workload == "batch")
    assert made.memory is not None
    made.memory = replace(made.memory, voluntary_ms=made.now_ms)
    made.pools["azure/norway/gpt"].stated = 1_500.0
    shed = [route.split.shed for route in made.table.routes]
    for _ in made.run(9_000):
        assert [route.split.shed for route in made.table.routes] == shed
    for _ in made.run(2_000):
        pass
    assert [route.split.shed for route in made.table.routes] != shed


def test_room_that_grows_every_second_is_used_once_in_a_shift_period() -> None:
    """What was restored by force counts as a move by choice does: the next restoring waits for its turn."""
    made = world(60)
    for pool in made.pools.values():
        pool.stated = 300.0
    list(made.run(30_000))
    restored = []
    for second in range(60):
        shed = _shed_batch(made)
        for pool in made.pools.values():
            pool.stated = 300.0 + second
        list(made.run(1_000))
        if _shed_batch(made) < shed:
            restored.append(second)
    assert len(restored) >= 3
    assert all(later - earlier >= 10 for earlier, later in pairwise(restored))


def test_a_little_of_critical_load_waits_for_its_turn_and_more_of_it_returns_at_once() -> None:
    """Demand that goes up and down at the edge of capacity must not give an urgent table a second."""
    made = world(60)
    for pool in made.pools.values():
        pool.stated = 200.0
    list(made.run(30_000))
    restored = []
    for second in range(30):
        shed = _shed(made, "api")
        for pool in made.pools.values():
            pool.stated = 200.0 + 0.5 * second
        list(made.run(1_000))
        if _shed(made, "api") < shed:
            restored.append(second)
    assert len(restored) >= 2
    assert all(later - earlier >= 10 for earlier, later in pairwise(restored))
    shed = _shed(made, "api")
    for pool in made.pools.values():
        pool.stated = 250.0
    list(made.run(2_000))
    assert _shed(made, "api") < shed


def _shed_batch(made: World) -> int:
    """What is shed of batch, in parts per million, all origins together."""
    return _shed(made, "batch")


def _shed(made: World, workload: str) -> int:
    """What is shed of a workload, in parts per million, all origins together."""
    assert made.table is not None
    return sum(route.split.shed for route in made.table.routes if route.workload == workload)
