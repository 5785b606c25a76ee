"""What a controller reports about itself over ``/livez``, ``/readyz`` and ``/metrics``
(``process.monitor``)."""

from typing import NamedTuple

from prometheus_client import Histogram

from controller.kafka.reading import reading_figures
from controller.leading.fitness import Fitness
from controller.leading.leader import Leader
from controller.process.clock import monotonic_ms, now_ms
from controller.process.monitor import Figure, Vitals, labelled, single
from controller.process.seal import Seal
from controller.routes.counting_rule import NO_EPOCH
from controller.routes.overlay_keeper import OverlayKeeper
from controller.routes.projection import Projector
from controller.routes.publisher import Publisher
from streams.app import Ingest
from tieline.cloudevents import Rejection

SILENCE_MAX_MS = 10_000  # a take-over after a kill takes less than half of it
STUCK_AFTER_MS = 60_000  # a leader looks whether something is due about once a second
DEAD_LETTER = "dead_letter."


class AgentReport(NamedTuple):
    """What the agent reports about its decisions. ``turned_ms``: the steady clock when it last looked whether
    something is due; None while it does not lead."""

    figures: tuple[Figure, ...]
    histograms: tuple[Histogram, ...]
    turned_ms: int | None
    unsigned: bool


def controller_vitals(
    leader: Leader,
    publisher: Publisher,
    projector: Projector,
    *,
    ingest: Ingest,
    overlay: OverlayKeeper,
    fitness: Fitness,
    seal: Seal,
    agent: AgentReport,
) -> Vitals:
    """A controller is ready while it is fit to lead and hears a leader, itself or another."""
    silent_ms = monotonic_ms() - leader.heard_ms
    figures = (
        *_leadership(leader, fitness, silent_ms),
        *_publication(publisher, projector),
        *_overlay(overlay),
        *_ingest(ingest),
        _ignored(leader, publisher),
        single("unsigned_dev_mode", "1 while orders are taken without a signature", agent.unsigned),
        single("unsigned_tables", "1 while this controller signs no table and no record", not seal.private),
        *agent.figures,
    )
    unready = fitness.words or why_unled(leader.log.epoch, silent_ms)
    return Vitals(unready, figures, agent.histograms, stuck=why_stuck(agent.turned_ms, monotonic_ms()))


def why_unled(epoch: int, silent_ms: int) -> str:
    """Why nobody leads, as far as this process hears; empty while somebody does."""
    if epoch == NO_EPOCH:
        return "no controller leads yet"
    if silent_ms > SILENCE_MAX_MS:
        return f"no leader was heard for {silent_ms / 1_000:.0f} s: Kafka is away, or nobody can lead"
    return ""


def why_stuck(turned_ms: int | None, steady_ms: int) -> str:
    """Why this process should be restarted; empty while it turns, or stands by."""
    if turned_ms is None or steady_ms - turned_ms <= STUCK_AFTER_MS:
        return ""
    return f"it leads, but has not looked for {(steady_ms - turned_ms) // 1_000} s whether something is due"


def _leadership(leader: Leader, fitness: Fitness, silent_ms: int) -> tuple[Figure, ...]:
    faults = {fault.kind: 1.0 for fault in fitness.faults}
    return (
        single("leading", "1 while this controller may publish", leader.may_publish()),
        single("leader_epoch", "The epoch in force", leader.log.epoch),
        single("leader_silence_seconds", "Time since a leader was last heard", silent_ms / 1_000),
        single("fit", "1 while this controller is fit to lead", fitness.is_fit),
        labelled("fault", "1 for each reason why it is not", "kind", values=faults),
        single(
            "clock_apart_seconds",
            "How far this machine's clock is ahead of the brokers'",
            leader.brokers_apart_ms / 1_000,
        ),
    )


def _publication(publisher: Publisher, projector: Projector) -> tuple[Figure, ...]:
    figures = [single("redis_away", "1 while publications can't be projected", projector.failing)]
    if (confirmed_ms := projector.confirmed_ms) is not None:
        age_s = (monotonic_ms() - confirmed_ms) / 1_000
        figures.append(
            single("table_age_seconds", "Time since Redis last took or confirmed the table", age_s)
        )
    if (newest := publisher.log.newest) is not None:
        age_s = (now_ms() - newest.append_ms) / 1_000
        figures += [
            single("publication_seq", "Number of the newest publication within its epoch", newest.seq),
            single("publication_age_seconds", "Time since the newest publication", age_s),
        ]
    return tuple(figures)


def _overlay(overlay: OverlayKeeper) -> tuple[Figure, ...]:
    in_force = overlay.in_force
    scopes = len(in_force.exclude) if in_force is not None else 0
    left_s = (in_force.expires_ms - now_ms()) / 1_000 if in_force is not None else 0.0
    return (
        single("overlay_scopes", "Scopes that the emergency overlay excludes", scopes),
        single("overlay_left_seconds", "Time until the emergency overlay expires; 0 without one", left_s),
    )


def _ingest(ingest: Ingest) -> tuple[Figure, ...]:
    """Dead letters have a family of their own, by reason."""
    letters: dict[str, float] = dict.fromkeys(Rejection, 0.0)
    others: dict[str, float] = {}
    for name, count in ingest.counts.items():
        if name.startswith(DEAD_LETTER):
            letters[name.removeprefix(DEAD_LETTER)] = count
        else:
            others[name] = count
    return (
        labelled("ingest", "Records by what became of them", "what", values=others, counter=True),
        labelled("dead_letters", "Records that could not be taken", "reason", values=letters, counter=True),
        *reading_figures(ingest.progress, now_ms()),
    )


def _ignored(leader: Leader, publisher: Publisher) -> Figure:
    refusals = {"routes": publisher.refusals, "leader": leader.tail.refusals}
    words = "Records that somebody else than the leader wrote, or that are not signed as they must be"
    return labelled("ignored_records", words, "log", values=refusals, counter=True)
