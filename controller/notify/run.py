"""One process of `tieline notify`: all targets of a file, until a signal ends it."""

import asyncio
from collections.abc import Mapping, Sequence

import aiohttp
import structlog

from controller.history.entries import Entry
from controller.notify.follow import Follower
from controller.notify.sending import Outcome, send
from controller.notify.shapes import outgoing
from controller.notify.target import Target
from controller.notify.targets import Access
from controller.process.clock import now_ms
from controller.process.monitor import Figure, Vitals, labelled, monitored
from controller.process.settings import Settings
from controller.process.supervise import collect_often, end_on_signals, together, until_asked

STOP_WITHIN_S = 4.0


async def run_notify(settings: Settings, targets: Sequence[Target], access: Mapping[str, Access]) -> int:
    """Runs until SIGTERM or SIGINT; returns 0. ``access`` is by the name of the target."""
    asked_to_end = end_on_signals()
    collect_often()
    topic = settings.topics.history.name
    followers = [
        Follower(settings.kafka, settings.namespace, topic, target=target, access=access[target.name])
        for target in targets
    ]
    log = structlog.get_logger("notify")
    log.info("starting", kafka=str(settings.kafka), namespace=settings.namespace, targets=len(targets))
    async with monitored(settings.monitor, lambda: vitals_of(followers)):
        running = asyncio.create_task(
            together({follower.target.name: follower.run() for follower in followers})
        )
        await until_asked(asked_to_end, running)
        running.cancel()
        await asyncio.wait({running}, timeout=STOP_WITHIN_S)
    log.info("stopped")
    return 0


async def try_targets(
    settings: Settings, targets: Sequence[Target], access: Mapping[str, Access]
) -> dict[str, Outcome]:
    """Sends one informational notification to each target, and says what came of it by target."""
    at_ms = now_ms()
    entry = Entry(
        at_ms,
        "test",
        "notifications",
        text="this is a test by `tieline notify --test`",
        key=f"test:{at_ms}",
    )
    outcomes = {}
    async with aiohttp.ClientSession() as session:
        for target in targets:
            request = outgoing(target, access[target.name], entry, namespace=settings.namespace, now_ms=at_ms)
            outcomes[target.name] = await send(
                session, request, timeout_s=target.timeout_s, proxy=target.proxy, now_ms=at_ms
            )
    return outcomes


def vitals_of(followers: Sequence[Follower]) -> Vitals:
    """A target that takes nothing is told by figures; a restart would not help it."""
    counts: dict[tuple[str, ...], float] = {}
    for follower in followers:
        name = follower.target.name
        for what in ("sent", "retried", "failed"):
            counts[name, what] = float(follower.counts[what])
        counts[name, "left_out"] = float(follower.left_out)
    waiting = {follower.target.name: float(follower.waiting) for follower in followers}
    trouble = {follower.target.name: float(bool(follower.trouble)) for follower in followers}
    figures = (
        Figure(
            "notifications",
            "notifications by what became of them",
            counts,
            labels=("target", "what"),
            counter=True,
        ),
        labelled("notifications_waiting", "notifications that are not sent yet", "target", values=waiting),
        labelled("notify_target_failing", "1 while the target takes nothing", "target", values=trouble),
    )
    return Vitals("", figures)
