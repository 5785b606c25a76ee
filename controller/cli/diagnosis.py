"""What `tieline doctor` says about what it found: one check after the other, each with its remedy. Pure.

Every function takes what was found about one subject and gives its checks. What could not be looked at is a
check of its own (``unknown``), so that nothing is taken for well that nobody saw.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from controller.core.model.words import duration, sentence
from controller.core.policy.policy import Policy
from controller.kafka.topic_checks import ClusterFinding
from controller.leading.fitness import FaultKind
from controller.process.clock import BROKERS_APART_MAX_MS
from controller.process.connections import KEEPS_ALL
from controller.status.gather import Status
from controller.status.head import NO_LEADER_AFTER_MS, no_leader_since_ms
from tieline.table import Generation, Manifest

Level = Literal["well", "careful", "wrong", "unknown"]
APART_TOLD_MS = 1_000  # clocks should agree to a second
MEMORY_SHARE_MAX = 0.9
BEHIND_MAX_MS = 5_000  # publications reach Redis within milliseconds
CONTROLLERS_MIN = 2
EXIT_WELL, EXIT_WRONG, EXIT_UNKNOWN = 0, 1, 2


class Check(Struct, frozen=True):
    """One finding. ``careful``: it works, and should be better; ``wrong``: mend it; ``unknown``: it could not
    be looked at. ``remedy`` says what to do, and is empty where all is well."""

    subject: str
    level: Level
    words: str
    remedy: str = ""


class RedisFacts(Struct, frozen=True):
    """What Redis says of itself. ``ahead_ms``: how far its clock is ahead of this machine's."""

    version: str
    role: str
    memory_bytes: int
    memory_max_bytes: int
    eviction: str
    ahead_ms: int
    manifest: Manifest | None


def well(subject: str, words: str) -> Check:
    """A check that found nothing."""
    return Check(subject, "well", words)


def careful(subject: str, words: str, remedy: str = "") -> Check:
    """A check that found what works, and should be better."""
    return Check(subject, "careful", words, remedy=remedy)


def wrong(subject: str, words: str, remedy: str = "") -> Check:
    """A check that found what must be mended."""
    return Check(subject, "wrong", words, remedy=remedy)


def exit_status(checks: Sequence[Check]) -> int:
    """0: nothing is wrong. 1: something is. 2: nothing is known to be wrong, and something could not be
    looked at."""
    levels = {check.level for check in checks}
    return EXIT_WRONG if "wrong" in levels else EXIT_UNKNOWN if "unknown" in levels else EXIT_WELL


def of_cluster(cluster: ClusterFinding) -> Iterator[Check]:
    """Brokers and topics."""
    yield well("kafka", f"{cluster.brokers} brokers answer")
    for topic in cluster.topics:
        for check, texts in ((wrong, topic.faults), (careful, topic.hints)):
            for text in texts:
                words, _, remedy = text.partition(": ")
                yield check("topics", f"{topic.name} {words}", remedy)
    sound = sum(not topic.faults and not topic.hints for topic in cluster.topics)
    yield well("topics", f"{sound} of {len(cluster.topics)} topics are as they should be")


def of_redis(facts: RedisFacts) -> Iterator[Check]:
    """Its role, its memory, and whether it keeps rows."""
    yield well("redis", f"version {facts.version} answers")
    if facts.role != "master":
        yield wrong(
            "redis",
            f"it is a {facts.role}, which takes no writes",
            "point TIELINE_REDIS at the primary",
        )
    if facts.memory_max_bytes and facts.eviction != KEEPS_ALL:
        words = f"its maxmemory-policy is {facts.eviction}, so it removes rows when its memory is full"
        yield wrong("redis", words, f"CONFIG SET maxmemory-policy {KEEPS_ALL}")
    if facts.memory_max_bytes and facts.memory_bytes > MEMORY_SHARE_MAX * facts.memory_max_bytes:
        words = f"{facts.memory_bytes / facts.memory_max_bytes:.0%} of its maxmemory is used"
        yield wrong("redis", words, "raise maxmemory, or remove what does not belong there")


def of_clocks(status: Status | None, redis: RedisFacts | None) -> Iterator[Check]:
    """This machine's clock against Redis's and the brokers', and the clock of each controller."""
    apart: list[tuple[str, int]] = [("Redis's", -redis.ahead_ms)] if redis is not None else []
    leader = status.leader if status is not None else None
    if status is not None and leader is not None and leader.heard_ms - status.at_ms > APART_TOLD_MS:
        apart.append(("the brokers'", status.at_ms - leader.heard_ms))
    for whose, ahead_ms in apart:
        if abs(ahead_ms) > APART_TOLD_MS:
            where = "ahead of" if ahead_ms > 0 else "behind"
            words = f"the clock of this machine is {duration(abs(ahead_ms))} {where} {whose}"
            yield careful("clocks", words, "keep clocks right with NTP or chrony")
    for row in status.controllers if status is not None else ():
        ahead_ms = row.presence.clock_ahead_ms
        if abs(ahead_ms) > APART_TOLD_MS:
            where = "ahead of" if ahead_ms > 0 else "behind"
            words = f"the clock of {row.presence.host} is {duration(abs(ahead_ms))} {where} the brokers'"
            check = wrong if abs(ahead_ms) > BROKERS_APART_MAX_MS else careful
            yield check("clocks", words, "keep it right with NTP or chrony")
    if redis is not None or leader is not None:
        yield well("clocks", "the other clocks agree to a second")


def of_leading(status: Status) -> Iterator[Check]:
    """Who leads, every controller's own faults, and their versions."""
    if status.leader is None and status.missing:
        return  # Kafka could not be read, which is said elsewhere
    since_ms = no_leader_since_ms(status)
    if status.leader is None:
        yield wrong("controllers", "no controller ever led", "start one with `tieline controller`")
    elif since_ms is not None:
        words = f"nobody has led for {duration(max(status.at_ms - since_ms, NO_LEADER_AFTER_MS))}"
        yield wrong(
            "controllers",
            words,
            "start a controller, or mend what keeps those that run from leading",
        )
    else:
        yield well("controllers", f"epoch {status.leader.epoch} leads")
    for row in status.controllers:
        place = f"the controller on {row.presence.host} (pid {row.presence.pid})"
        if row.state == "silent":
            yield careful("controllers", f"{place} is silent", "start it again, or leave it if it was ended")
        for fault in row.presence.faults:
            kind = "lineage" if fault.kind == FaultKind.LINEAGE else "controllers"
            words, _, remedy = fault.words.rpartition(": ")
            yield wrong(kind, f"{place} is not fit to lead: {words}", remedy)
        for alarm in row.presence.alarms:
            yield careful("controllers", f"{place}: {alarm}")
    here = [row for row in status.controllers if row.state != "silent"]
    if len(here) == 1:
        yield careful("controllers", "only one controller runs", "run two or more on different hosts")


def of_versions(status: Status, own: str, clients: Mapping[str, int]) -> Iterator[Check]:
    """The versions of this command, of the controllers, and of the clients by how many reports name them."""
    versions = Counter(row.presence.version for row in status.controllers if row.state != "silent")
    if len({*versions, own}) > 1:
        listed = ", ".join(f"{count} with {version}" for version, count in sorted(versions.items()))
        words = f"controllers: {listed}; this command has {own}"
        yield careful("versions", words, "install the same version everywhere")
    elif versions:
        yield well("versions", f"all controllers have {own}, as this command")
    if clients:
        listed = ", ".join(
            f"{version or 'an older one'}: {count}" for version, count in sorted(clients.items())
        )
        words = f"clients by version: {listed}"
        if len(clients) > 1:
            yield careful("versions", words, "install the newest version of the client everywhere")
        else:
            yield well("versions", words)


def of_evidence(status: Status) -> Iterator[Check]:
    """Alarms, clients, dead letters, the emergency overlay."""
    for alarm in status.alarms:
        yield wrong("alarms", sentence(alarm, status.at_ms), "see `tieline explain`, and docs/operating.md")
    clients = status.clients
    if clients is not None and not clients.heard:
        yield careful("clients", "no client reports, so load is not known", "see docs/operating.md")
    elif clients is not None:
        current = clients.generations.get(status.generation, 0)
        words = f"{clients.heard} report, {current} with the newest table"
        if clients.silent:
            remedy = "see whether they run, and whether they reach Kafka"
            yield careful("clients", f"{words}; {clients.silent} have fallen silent", remedy)
        else:
            yield well("clients", words)
    if status.dead_letters is not None and status.dead_letters.count:
        words = f"{status.dead_letters.count:,} records could not be taken in the last hour"
        yield careful("dead letters", words, "see `tieline deadletter list`")
    if status.overlay is not None:
        words = f"an emergency overlay excludes {', '.join(status.overlay.exclude)}"
        yield careful("overlay", words, "`tieline overlay withdraw` when it is needed no longer")


def of_lineage(
    generation: Generation, published_ms: int, redis: RedisFacts | None, at_ms: int
) -> Iterator[Check]:
    """Whether Redis holds the table that was published last, and of the same history."""
    if redis is None:
        return
    if (manifest := redis.manifest) is None:
        yield wrong("lineage", "Redis holds no table for clients", "see whether a controller leads")
        return
    if manifest.generation.lineage != generation.lineage:
        words = f"Redis holds tables of {manifest.generation.lineage}, and {generation.lineage} is published"
        yield wrong("lineage", words, "if Kafka was lost, `tieline adopt-lineage` once")
    elif generation.newer_than(manifest.generation) and at_ms - published_ms > BEHIND_MAX_MS:
        words = f"Redis holds {manifest.generation}, and {generation} is published"
        yield wrong("lineage", words, "see in the leader's log why Redis takes no table")
    else:
        yield well("lineage", f"Redis holds {manifest.generation}, as published")


def of_keys(policy: Policy, *, unsigned: bool, own_key: str) -> Iterator[Check]:
    """Who may give orders. ``own_key``: why the key of whoever asks can't be used, empty if it can be or if
    there is none."""
    if unsigned:
        words = "UNSIGNED DEV MODE: whoever can write to Kafka can give orders"
        remedy = "name `operators` in the policy (`tieline keys new`), and leave out --unsigned-dev-mode"
        yield careful("keys", words, remedy)
    elif not policy.operators:
        remedy = "name `operators` in the policy: `tieline keys new` prints the lines"
        yield careful("keys", "the policy names no operators, so nobody can give orders", remedy)
    else:
        yield well("keys", f"{len(policy.operators)} operators may give orders")
    if own_key:
        yield wrong("keys", f"your own key can't be used: {own_key}")


def of_policy(in_force: str, own_version: str, mistake: str) -> Iterator[Check]:
    """The version in force, and the version of the file that was named, or what is wrong with that file."""
    yield well("policy", f"{in_force[:8]} is in force")
    if mistake:
        yield wrong("policy", mistake)
    elif own_version and own_version != in_force:
        words = f"your file is {own_version[:8]}, which is not the policy in force"
        yield careful("policy", words, "see `tieline policy diff`")
