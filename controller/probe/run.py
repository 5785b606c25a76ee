"""One process of ``tieline probe``: a prober by the policy of a file, or by the one in force."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from controller.commands.policies import published_policy
from controller.core.policy.policy import Policy, version_of
from controller.leading.routes_reader import RoutesReader
from controller.probe.prober import Prober, planned
from controller.probe.region import Pace, RegionProbes
from controller.probe.spending import Ledger
from controller.probe.targets import ProbePlan, plan, secret_files, source
from controller.process import clock
from controller.process.errors import UserError
from controller.process.monitor import Vitals, labelled, monitored
from controller.process.settings import Settings
from controller.process.source_producer import source_producer
from controller.process.supervise import collect_often, end_on_signals, until_asked
from tieline.cancelling import end_all
from tieline.credentials import Credentials
from tieline.producer import ProducerStatus

POLICY_WITHIN_S = 15.0
LOOK_EVERY_S = 5.0
COUNTS_TOKENS = "tokens"
_log = structlog.get_logger("tieline.probe")


class Choices(NamedTuple):
    """What the flags ask for. ``source``: the name to report under, None for the policy's first prober.
    ``pools``: only these; empty for all."""

    source: str | None
    pools: tuple[str, ...]
    pace: Pace


class Assignment(NamedTuple):
    """What a policy gives this process to do."""

    policy: Policy
    source: str
    probe_plan: ProbePlan
    credentials: Credentials

    @property
    def task(self) -> tuple[str, ProbePlan, bool]:
        """All that a change of would change what is probed."""
        return self.source, self.probe_plan, self.counts_tokens

    @property
    def counts_tokens(self) -> bool:
        """Whether the policy's unit of load is a token."""
        return self.policy.clients.load_unit == COUNTS_TOKENS


def assigned(policy: Policy, choices: Choices) -> Assignment:
    """What to probe by this policy, with the secrets of this environment. Raises ProbeError."""
    credentials = Credentials(secret_files(policy, os.environ), clock.monotonic_ms, os.environ)
    probe_plan = plan(policy, credentials, choices.pools)
    return Assignment(policy, source(policy, choices.source), probe_plan, credentials=credentials)


async def policy_in_force(settings: Settings) -> Policy:
    """The policy of the newest publication. Raises UserError if there is none."""
    async with RoutesReader(settings) as routes:
        return await _published(routes)


async def run_probe(settings: Settings, policy: Policy | None, choices: Choices) -> None:
    """Probes until SIGTERM or SIGINT. Without a ``policy`` the one in force counts, and is followed.

    Raises ProbeError when there is nothing to probe, UserError when no policy is in force.
    """
    asked_to_end = end_on_signals()
    collect_often()
    if policy is not None:
        probing = _by_one_policy(settings, assigned(policy, choices), choices.pace, {})
    else:
        probing = _by_policy_in_force(settings, choices)
    running = asyncio.create_task(probing)
    try:
        await until_asked(asked_to_end, running)
    finally:
        await end_all({running})


async def _by_policy_in_force(settings: Settings, choices: Choices) -> None:
    ledgers: dict[str, Ledger] = {}
    async with RoutesReader(settings) as routes:
        assignment = assigned(await _published(routes), choices)
        while True:
            changing = asyncio.create_task(_changed(routes, assignment, choices))
            probing = asyncio.create_task(_by_one_policy(settings, assignment, choices.pace, ledgers))
            reading = asyncio.create_task(routes.run())
            try:
                ended, _ = await asyncio.wait(
                    (changing, probing, reading), return_when=asyncio.FIRST_COMPLETED
                )
                for task in ended:
                    task.result()
                assignment = await changing
            finally:
                await end_all((changing, probing, reading))
            _log.info("the policy in force has changed", source=assignment.source)


async def _published(routes: RoutesReader) -> Policy:
    record = await routes.until(lambda _: True, POLICY_WITHIN_S)
    if record is None:
        raise UserError("no policy is in force yet: start a controller first, or give --policy FILE")
    return published_policy(record, unsigned=record.unsigned_commands).policy


async def _changed(routes: RoutesReader, assignment: Assignment, choices: Choices) -> Assignment:
    """What the policy in force gives this process to do, once that is something else. Raises ProbeError."""
    version = version_of(assignment.policy)
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        record = routes.newest()
        if record is not None and record.policy_version != version:
            version = record.policy_version
            other = assigned(await _published(routes), choices)
            if other.task != assignment.task:
                return other


async def _by_one_policy(
    settings: Settings, assignment: Assignment, pace: Pace, ledgers: dict[str, Ledger]
) -> None:
    for pool, variable in sorted(assignment.probe_plan.without_secret.items()):
        _log.warning("pool is not probed: its secret is missing or unusable", pool=pool, variable=variable)
    targets = assignment.probe_plan.targets
    producer = source_producer(settings, assignment.source)
    prober = Prober(
        targets,
        producer,
        pace,
        credentials=assignment.credentials,
        monotonic_ms=clock.monotonic_ms,
        counts_tokens=assignment.counts_tokens,
        ledgers=ledgers,
    )
    spends = planned(targets, pace, counts_tokens=assignment.counts_tokens)
    _log.info(
        "probing",
        pools=len(targets),
        interval_ms=pace.interval_ms,
        source=assignment.source,
        cost_per_hour=round(sum(spend.cost_per_hour for spend in spends), 4),
        budget_per_hour=round(sum(spend.budget_per_hour for spend in spends), 4),
    )
    async with producer, monitored(settings.monitor, lambda: vitals_of(producer.status, prober.regions)):
        try:
            await prober.run()
        finally:
            status = producer.status
            spent = round(sum(region.ledger.total for region in prober.regions), 4)
            _log.info("stopped", delivered=status.delivered, dropped=status.dropped_expired, spent=spent)


def vitals_of(status: ProducerStatus, regions: Sequence[RegionProbes]) -> Vitals:
    """A prober is well while it is connected and Kafka took its last report."""
    complaint = status.error or ("" if status.connected else "not connected to Kafka yet")
    reports = {
        "delivered": status.delivered,
        "expired": status.dropped_expired,
        "dropped": status.dropped_full,
        "failed": status.failed,
    }
    now_ms = clock.monotonic_ms()
    spent = {region.region: region.ledger.spent(now_ms) for region in regions}
    intervals = {region.region: region.interval_ms / 1_000 for region in regions}
    figures = (
        labelled("reports", "Reports by what became of them", "what", values=reports, counter=True),
        labelled("probe_spent_per_hour", "Money of the last hour's probes", "region", values=spent),
        labelled("probe_interval_seconds", "Between two probes of a pool", "region", values=intervals),
    )
    return Vitals(complaint, figures)
