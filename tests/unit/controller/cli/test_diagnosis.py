"""What the doctor says of each finding, and the exit status that follows."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from controller.cli import diagnosis
from controller.cli.diagnosis import Check, RedisFacts, exit_status
from controller.core.evidence.reported import ReportingClients
from controller.kafka.topic_checks import ClusterFinding, TopicFinding
from controller.leading.presence import Fault, Presence
from controller.policy_file import load_policy
from controller.status.controllers import ControllerRow
from controller.status.dead_letters import DeadLettersSeen
from controller.status.gather import Status
from controller.status.leadership import LeaderRow
from controller.status.overview import Overview
from tests.places import EXAMPLE_POLICY
from tieline.table import Generation, Manifest

NOW_MS = 1_800_000_000_000
REDIS = RedisFacts(
    version="8.0",
    role="master",
    memory_bytes=10,
    memory_max_bytes=0,
    eviction="noeviction",
    ahead_ms=0,
    manifest=None,
)
LEADER = LeaderRow(7, NOW_MS - 200, "a171a927c0", resigned=False)
STATUS = Status("l:7:3", NOW_MS, NOW_MS, None, "0f", LEADER, Overview((), (), ()))


def controller(state: str = "leads", **more: object) -> ControllerRow:
    presence = Presence(
        "id", "host-1", 9, version="1.0", started_ms=0, lineage="l", policy_version="0f", epoch=7
    )
    return ControllerRow(state, NOW_MS, replace(presence, checked=True, **more))


def said(checks: Iterable[Check], level: str) -> str:
    """The words and remedies of this level."""
    return "; ".join(f"{check.words} -> {check.remedy}" for check in checks if check.level == level)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((), 0),
        (("well", "careful"), 0),
        (("careful", "unknown"), 2),
        (("unknown", "wrong"), 1),
    ],
)
def test_the_exit_status_is_that_of_the_worst_finding(
    levels: tuple[diagnosis.Level, ...], expected: int
) -> None:
    """What should be better is no failure; what nobody saw is none that is known."""
    assert exit_status([Check("x", level, "y") for level in levels]) == expected


def test_topics_name_what_is_wrong_and_the_command_that_corrects_it() -> None:
    """The remedy stands apart from the finding."""
    topics = (
        TopicFinding("t.routes", ("has cleanup.policy=delete and needs compact: kafka-configs --alter x",)),
        TopicFinding("t.leader", hints=("has only 1 of 3 replicas in sync: look at the brokers",)),
        TopicFinding("t.reports"),
    )
    checks = list(diagnosis.of_cluster(ClusterFinding(3, topics)))
    assert "cleanup.policy=delete and needs compact -> kafka-configs --alter x" in said(checks, "wrong")
    assert "t.leader has only 1 of 3 replicas in sync -> look at the brokers" in said(checks, "careful")
    assert "1 of 3 topics are as they should be" in said(checks, "well")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(REDIS, role="slave"), "it is a slave, which takes no writes -> point TIELINE_REDIS"),
        (
            replace(REDIS, eviction="allkeys-lru", memory_max_bytes=100),
            "-> CONFIG SET maxmemory-policy noeviction",
        ),
        (replace(REDIS, memory_bytes=95, memory_max_bytes=100), "95% of its maxmemory is used"),
    ],
)
def test_a_redis_that_can_lose_rows_is_wrong(facts: RedisFacts, words: str) -> None:
    """Replicas, eviction and a memory that is nearly full."""
    assert words in said(diagnosis.of_redis(facts), "wrong")


def test_eviction_matters_only_with_a_limit_of_memory() -> None:
    """Without maxmemory nothing is evicted, whatever the policy is."""
    assert not said(diagnosis.of_redis(replace(REDIS, eviction="allkeys-lru")), "wrong")


def test_clocks_are_compared_with_those_of_redis_the_brokers_and_the_controllers() -> None:
    """Beyond a second it is told, and a controller that is five seconds off is wrong."""
    behind = replace(STATUS, leader=replace(LEADER, heard_ms=NOW_MS + 3_000))
    checks = list(diagnosis.of_clocks(behind, replace(REDIS, ahead_ms=-2_000)))
    assert "this machine is 2 s ahead of Redis's" in said(checks, "careful")
    assert "this machine is 3 s behind the brokers'" in said(checks, "careful")
    off = replace(STATUS, controllers=(controller(clock_ahead_ms=-9_000),))
    assert "the clock of host-1 is 9 s behind the brokers'" in said(diagnosis.of_clocks(off, None), "wrong")
    assert not said(diagnosis.of_clocks(STATUS, REDIS), "careful")


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        (replace(STATUS, leader=None), "wrong", "no controller ever led -> start one"),
        (replace(STATUS, leader=replace(LEADER, resigned=True)), "wrong", "nobody has led for"),
        (replace(STATUS, controllers=(controller(),)), "careful", "only one controller runs -> run two"),
        (replace(STATUS, controllers=(controller("silent"),)), "careful", "host-1 (pid 9) is silent"),
        (
            replace(
                STATUS,
                controllers=(
                    controller("not fit", faults=(Fault("redis_away", "Redis is away: start it"),)),
                ),
            ),
            "wrong",
            "is not fit to lead: Redis is away -> start it",
        ),
    ],
)
def test_leading_says_what_keeps_controllers_from_it(status: Status, level: str, words: str) -> None:
    """Each with the remedy that the controller itself names."""
    assert words in said(diagnosis.of_leading(status), level)


def test_who_leads_is_not_guessed_while_kafka_is_away() -> None:
    """What nobody could read is no controller that never led."""
    unseen = replace(STATUS, leader=None, missing=("Kafka can't be read",))
    assert not list(diagnosis.of_leading(unseen))


def test_mixed_versions_are_told() -> None:
    """Of controllers, of this command, and of clients."""
    status = replace(STATUS, controllers=(controller(), controller("stands by", version="1.1")))
    checks = list(diagnosis.of_versions(status, "1.1", {"": 2, "1.0": 30}))
    assert "controllers: 1 with 1.0, 1 with 1.1; this command has 1.1" in said(checks, "careful")
    assert "clients by version: an older one: 2, 1.0: 30" in said(checks, "careful")
    same = replace(STATUS, controllers=(controller(),))
    assert not said(diagnosis.of_versions(same, "1.0", {"1.0": 3}), "careful")


def test_clients_and_dead_letters_are_told() -> None:
    """How many hold the newest table, who fell silent, and what could not be taken."""
    clients = ReportingClients(5, 2, NOW_MS, generations={"l:7:3": 4})
    status = replace(STATUS, clients=clients, dead_letters=DeadLettersSeen(3, {}))
    words = said(diagnosis.of_evidence(status), "careful")
    assert "5 report, 4 with the newest table; 2 have fallen silent" in words
    assert "3 records could not be taken in the last hour -> see `tieline deadletter list`" in words


@pytest.mark.parametrize(
    ("manifest", "published", "level", "words"),
    [
        (None, "l:7:3", "wrong", "Redis holds no table"),
        ("l:7:3", "l:7:3", "well", "as published"),
        ("l:7:2", "l:7:3", "wrong", "Redis holds l:7:2, and l:7:3 is published"),
        ("old:9:9", "l:7:3", "wrong", "-> if Kafka was lost, `tieline adopt-lineage` once"),
    ],
)
def test_redis_must_hold_what_was_published(
    manifest: str | None, published: str, level: str, words: str
) -> None:
    """Another lineage and an older generation are told apart."""
    stored = Manifest(generation(manifest), NOW_MS, {}) if manifest else None
    facts = replace(REDIS, manifest=stored)
    checks = diagnosis.of_lineage(generation(published), NOW_MS - 60_000, facts, NOW_MS)
    assert words in said(checks, level)


def generation(text: str) -> Generation:
    lineage, epoch, seq = text.split(":")
    return Generation(lineage, int(epoch), int(seq))


def test_who_may_give_orders_is_told() -> None:
    """The development mode, a policy that names nobody, and a key that does not fit."""
    policy = load_policy(EXAMPLE_POLICY)
    assert "UNSIGNED DEV MODE" in said(diagnosis.of_keys(policy, unsigned=True, own_key=""), "careful")
    nobody = replace(policy, operators=())
    assert "nobody can give orders" in said(diagnosis.of_keys(nobody, unsigned=False, own_key=""), "careful")
    assert "your own key can't be used: x" in said(
        diagnosis.of_keys(policy, unsigned=True, own_key="x"), "wrong"
    )


def test_the_policy_file_is_compared_with_the_one_in_force() -> None:
    """Another version, and a file with mistakes."""
    assert "0f0319ea is in force" in said(diagnosis.of_policy("0f0319eaff", "", ""), "well")
    assert "your file is 11223344" in said(diagnosis.of_policy("0f", "1122334455", ""), "careful")
    assert "p.yaml:3: no" in said(diagnosis.of_policy("0f", "", "p.yaml:3: no"), "wrong")
