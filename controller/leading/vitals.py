"""What a controller reports about itself over ``/healthz`` and ``/metrics`` (``process.monitor``)."""

from controller.core.inspect.measure import pool_shares
from controller.kafka.reading import reading_figures
from controller.leading.fitness import Fitness
from controller.leading.leader import Leader
from controller.process.clock import monotonic_ms, now_ms
from controller.process.monitor import Figure, Vitals
from controller.routes.counting_rule import NO_EPOCH
from controller.routes.overlay_keeper import OverlayKeeper
from controller.routes.projection import Projector
from controller.routes.publisher import Publisher
from streams.app import Ingest
from tieline.table import MILLION

SILENCE_MAX_MS = 10_000  # a take-over after a kill takes less than half of it


def controller_vitals(
    leader: Leader,
    publisher: Publisher,
    projector: Projector,
    *,
    ingest: Ingest,
    overlay: OverlayKeeper,
    fitness: Fitness,
) -> Vitals:
    """A controller is well while it hears a leader, itself or another.

    Only the leader tells shares of pools and what is shed, so that a sum over controllers counts them once.
    """
    silent_ms = monotonic_ms() - leader.heard_ms
    figures = [
        Figure("leading", "1 while this controller may publish", {"": float(leader.may_publish())}),
        Figure("leader_epoch", "the epoch in force", {"": float(leader.log.epoch)}),
        Figure("leader_silence_seconds", "since a leader was last heard", {"": silent_ms / 1_000}),
        Figure("redis_away", "1 while publications can't be projected", {"": float(projector.failing)}),
        Figure(
            "overlay_scopes",
            "scopes that the emergency overlay excludes",
            {"": float(len(excluding.exclude) if (excluding := overlay.in_force) is not None else 0)},
        ),
        Figure("ingest", "records by what became of them", ingest.counts, label="what", counter=True),
    ]
    figures += reading_figures(ingest.progress, now_ms())
    if (newest := publisher.log.newest) is not None:
        age_s = (now_ms() - newest.append_ms) / 1_000
        figures += [
            Figure("publication_seq", "of the newest publication within its epoch", {"": float(newest.seq)}),
            Figure("publication_age_seconds", "since the newest publication", {"": age_s}),
        ]
    if (table := projector.table) is not None:
        shed = {route.name: route.split.shed / MILLION for route in table.routes}
        figures += [
            Figure("pool_share", "mean share of a pool over all routes", pool_shares(table), label="pool"),
            Figure("route_shed_ratio", "share of a route that is shed", shed, label="route"),
        ]
    refusals = {"routes": float(publisher.refusals), "leader": float(leader.tail.refusals)}
    faults = {fault.kind: 1.0 for fault in fitness.faults}
    figures += [
        Figure("fit", "1 while this controller is fit to lead", {"": float(fitness.is_fit)}),
        Figure("fault", "1 for each reason why it is not", faults, label="kind"),
        Figure("ignored_records", "records that somebody else wrote", refusals, label="log", counter=True),
    ]
    return Vitals(_complaint(leader.log.epoch, silent_ms), tuple(figures), unready=fitness.words)


def _complaint(epoch: int, silent_ms: int) -> str:
    if epoch == NO_EPOCH:
        return "no controller leads yet"
    if silent_ms > SILENCE_MAX_MS:
        return f"no leader was heard for {silent_ms / 1_000:.0f} s: Kafka is away, or nobody can lead"
    return ""
