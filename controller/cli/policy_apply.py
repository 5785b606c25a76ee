"""`tieline policy diff`, `apply` and `rollback`: what another policy would change, and putting it in force.

A change is sent as one record that names the policy it follows. It is done when the leader's publication
carries the new policy and Redis has that publication for clients. If somebody else was faster, the leader
refuses the change, and nothing happens.
"""

import argparse
import getpass
import uuid
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from controller.cli.agreement import Consent, consent_of, is_agreed, pending_rules, say
from controller.cli.change_tables import draw
from controller.cli.give_order import agreement, behind_by_ms
from controller.cli.order_report import EXIT_DONE, EXIT_NOT_APPLIED, EXIT_PENDING
from controller.cli.outcome import wait_for_clients
from controller.cli.policy_log import NOTHING_YET, policy_of, read_policy_log
from controller.cli.replay import ReplayReport, replayed
from controller.cli.replay import draw as draw_replay
from controller.cli.signer import Signing, signer_of, signing_of
from controller.cli.terminal import duration_ms, screen
from controller.commands.policies import PolicyInForce, compressed, fixed_fault, new_policy, published_policy
from controller.core.inspect.consequences import Consequences
from controller.core.inspect.policy_consequences import policy_consequences
from controller.core.orders.words import described
from controller.core.policy.difference import PolicyDifference, differences, loosened_contracts
from controller.core.policy.policy import Policy, encode_policy, version_of
from controller.leading.routes_reader import RoutesReader
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.redis_reader import RedisUnreadError
from controller.process.settings import UNSIGNED_NOTICE, Settings
from controller.process.telemetry import without_controls
from controller.routes.record import PendingOrder, RoutesRecord
from controller.status.live import moment_of, read_commands
from controller.status.redis_side import RedisSide
from controller.status.words import waiting_words
from tieline.events import Command, PolicyChange
from tieline.producer import Producer, ProducerError

CHANGE_BYTES_MAX = 1_000_000  # of both policies, compressed; the topic takes records of 1 MiB
REASON_MAX = 2_000
NOT_KNOWN = "what the policy would change on the live tables is not known, as {}"

PolicyOutcome: TypeAlias = Literal[
    "published",
    "pending",
    "unchanged",
    "compared",
    "dry_run",
    "not_agreed",
    "refused",
    "unanswered",
    "not_projected",
]
OrderAt: TypeAlias = Callable[[Consequences | None, int], PolicyChange | Command]
"""Makes what is sent, from what the policy would change and the instant by the brokers' clock."""


class ApplyChoices(NamedTuple):
    """How a policy is to be put in force, by whom and why. ``within_s``: to wait for the leader's answer."""

    reason: str
    signing: Signing
    consent: Consent
    dry_run: bool
    as_json: bool
    within_s: float


def choices_of(args: argparse.Namespace) -> ApplyChoices:
    """What was typed. Raises ``UserError``."""
    reason = args.reason.strip()
    if not 0 < len(reason) <= REASON_MAX:
        raise UserError(f"--reason must have 1 to {REASON_MAX:,} characters")
    return ApplyChoices(
        reason,
        signing_of(args),
        consent=consent_of(args),
        dry_run=args.dry_run,
        as_json=args.json,
        within_s=duration_ms(args.within, "--within") / 1_000,
    )


class PolicyReport(Struct, frozen=True):
    """One policy beside the one in force, and what came of it; what `--json` prints.

    ``number`` and ``version``: of the new policy; ``parent``: the version in force before. ``change``: None
    where the live tables can't be read. ``replay``: the decisions since an instant, by both policies.
    """

    outcome: PolicyOutcome
    number: int
    version: str
    parent: str
    why: str = ""
    id: str = ""
    generation: str = ""
    differences: tuple[PolicyDifference, ...] = ()
    change: Consequences | None = None
    replay: ReplayReport | None = None

    @property
    def exit_status(self) -> int:
        """0: it was done, or only asked for. 1: the policy is not in force, or clients can't have it yet.
        4: another person must sign it."""
        if self.outcome == "pending":
            return EXIT_PENDING
        is_done = self.outcome in ("published", "unchanged", "compared", "dry_run")
        return EXIT_DONE if is_done else EXIT_NOT_APPLIED


async def diff(settings: Settings, policy: Policy, since_ms: int | None, *, as_json: bool) -> int:
    """Says what the policy would change: now, and from ``since_ms`` on in the recorded decisions."""
    async with RoutesReader(settings) as routes:
        before = _newest(routes)
    report = await _compared(settings, before, policy)
    if since_ms is not None and report.outcome != "unchanged":
        replay = await replayed(settings, since_ms, now_ms(), policy)
        report = msgspec.structs.replace(report, replay=replay)
    if not as_json:
        _draw(report, screen())
    return _finished(report, as_json=as_json)


async def apply(settings: Settings, policy: Policy, choices: ApplyChoices) -> int:
    """Puts the policy in force, unless a rule forbids it that was not named. Raises ``UserError``."""
    async with RoutesReader(settings) as routes:
        report = await _applied(settings, routes, policy, choices)
    return _finished(report, as_json=choices.as_json)


async def roll_back(settings: Settings, name: str, choices: ApplyChoices) -> int:
    """Puts the policy in force again that was so under this number or version. Raises ``UserError``."""
    history = (await read_policy_log(settings)).history
    return await apply(settings, policy_of(history, name), choices)


async def countersign(settings: Settings, item: PendingOrder, choices: ApplyChoices) -> int:
    """Agrees, as another person, to a policy change that waits for that. Raises ``UserError``."""
    if not isinstance(item.order, PolicyChange):
        raise UserError(f"{item.order.id} is no policy change")
    change = item.order
    try:
        policy = new_policy(change)
    except ValueError as error:
        raise UserError(f"{described(change)} can't be put in force: {error}") from None

    def agreeing(_: Consequences | None, issued_ms: int) -> Command:
        return agreement(item, choices.reason, choices.signing.actor, issued_ms)

    async with RoutesReader(settings) as routes:
        report = await _sent(settings, routes, policy, agreeing, choices, change=change)
    return _finished(report, as_json=choices.as_json)


async def _applied(
    settings: Settings, routes: RoutesReader, policy: Policy, choices: ApplyChoices
) -> PolicyReport:
    in_force = published_policy(_newest(routes), unsigned=False)

    def changing(forecast: Consequences | None, issued_ms: int) -> PolicyChange:
        return policy_change(in_force, policy, choices, forecast, issued_ms)

    return await _sent(settings, routes, policy, changing, choices)


async def _sent(
    settings: Settings,
    routes: RoutesReader,
    policy: Policy,
    order_at: OrderAt,
    choices: ApplyChoices,
    *,
    change: PolicyChange | None = None,
) -> PolicyReport:
    """Says what the policy would change, asks where a rule forbids it, sends the order, and follows it.

    ``change``: the one that the order agrees to; None where the order is the change itself.
    """
    before = _newest(routes)
    report = await _compared(settings, before, policy)
    if not choices.as_json:
        _draw_head(report, screen())
    if report.outcome == "unchanged":
        return report
    signer = signer_of(choices.signing, before, settings.namespace)
    # What this operator may not do, and a policy that no record takes, are told before anything is asked.
    signer.signed(order_at(report.change, now_ms()))
    if choices.dry_run:
        if not choices.as_json and report.change is not None:
            draw(report.change, screen())
        return _with(report, "dry_run", "nothing was sent")
    if not await _is_agreed(report, before, policy, choices.consent):
        return msgspec.structs.replace(report, outcome="not_agreed")
    order = signer.signed(order_at(report.change, now_ms() + await behind_by_ms(routes)))
    await _send(settings, order)
    if isinstance(order, PolicyChange):
        change = order
    assert change is not None
    report = msgspec.structs.replace(report, id=change.id)
    return await _followed(settings, routes, order.id, change, report, choices)


async def _is_agreed(report: PolicyReport, before: RoutesRecord, policy: Policy, consent: Consent) -> bool:
    """Whether nothing forbids the policy, or a person has agreed. Contracts need no Redis."""
    about = f"policy {report.number} ({report.version[:8]})"
    loosened: tuple[str, ...] = ()
    if report.change is None:
        loosened = loosened_contracts(published_policy(before, unsigned=False).policy, policy)
    if loosened and "contract_loosened" not in consent.forced:
        say(f"{about}: {'; '.join(loosened)}; nothing was sent: add --force contract_loosened to do it")
        return False
    return await is_agreed(about, report.change, consent, may_shed=True)


async def _followed(
    settings: Settings,
    routes: RoutesReader,
    order_id: str,
    change: PolicyChange,
    report: PolicyReport,
    choices: ApplyChoices,
) -> PolicyReport:
    """Waits for the leader's answer, and until clients can have the publication with it."""
    after = await routes.until(lambda record: record.answer_to(order_id) is not None, choices.within_s)
    answers = [after.answer_to(name) for name in (order_id, change.id)] if after is not None else []
    if after is None or answers[0] is None:
        return _with(
            report,
            "unanswered",
            f"no controller has answered within {choices.within_s:g} s: the next leader takes it in, unless "
            "another change is faster; see `tieline policy history`",
        )
    if refused := next((answer.refused for answer in answers if answer and answer.refused), ""):
        return _with(report, "refused", f"the leader refused it: {refused}; nothing was changed")
    report = msgspec.structs.replace(report, generation=str(after.generation))
    if (item := after.pending_order(change.id)) is not None:
        return _with(report, "pending", f"{described(change)} is not in force yet: {waiting_words(item)}")
    if not choices.as_json:
        notice = f"{UNSIGNED_NOTICE}: " if after.unsigned_commands else ""
        print(
            without_controls(f"{notice}{described(change)} is in force, by {change.actor}: {change.reason}")
        )
        print(f"published as {after.generation}")
    if fault := await wait_for_clients(settings, after.generation):
        why = f"{fault}: clients keep the table that they have until it is there"
        return _with(report, "not_projected", why)
    return msgspec.structs.replace(report, outcome="published")


def policy_change(
    before: PolicyInForce,
    policy: Policy,
    choices: ApplyChoices,
    change: Consequences | None,
    issued_ms: int,
) -> PolicyChange:
    """The record that puts ``policy`` in the place of ``before``. Raises ``UserError`` if it is too large."""
    packed, parent = compressed(encode_policy(policy)), compressed(before.packed)
    if len(packed) + len(parent) > CHANGE_BYTES_MAX:
        raise UserError(
            f"the policy and the one before it have {len(packed) + len(parent):,} bytes compressed, and one "
            f"record takes {CHANGE_BYTES_MAX:,}: make it smaller, or divide the installation by namespaces"
        )
    broken = {objection.rule for objection in change.objections} if change is not None else set()
    return PolicyChange(
        id=f"pol-{uuid.uuid4().hex[:16]}",
        actor=choices.signing.actor or getpass.getuser(),
        reason=choices.reason,
        issued_ms=issued_ms,
        number=before.number + 1,
        parent=before.version,
        version=version_of(policy),
        policy=packed,
        parent_policy=parent,
        forced=tuple(sorted(broken & choices.consent.forced)),
    )


async def _compared(settings: Settings, before: RoutesRecord, policy: Policy) -> PolicyReport:
    """The policy beside the one in force. Raises ``UserError`` if it can't follow that one."""
    in_force = published_policy(before, unsigned=before.unsigned_commands)
    version = version_of(policy)
    if version == in_force.version:
        why = f"policy {in_force.number} ({version[:8]}) is in force and is the same: there is nothing to do"
        return PolicyReport("unchanged", in_force.number, version, parent=version, why=why)
    if fault := fixed_fault(in_force.policy, policy):
        raise UserError(fault)
    return PolicyReport(
        "compared",
        in_force.number + 1,
        version,
        parent=in_force.version,
        differences=differences(in_force.policy, policy),
        change=await _change(settings, before, policy),
    )


async def _change(settings: Settings, before: RoutesRecord, policy: Policy) -> Consequences | None:
    """What the policy would change on the live tables; None where these can't be read."""
    if not settings.redis or before.table is None:
        say(NOT_KNOWN.format("TIELINE_REDIS is not set"))
        return None
    log = await read_commands(settings, before)
    try:
        async with RedisSide(settings) as redis:
            moment = await moment_of(redis, before, log.in_force(now_ms()))
    except RedisUnreadError:
        say(NOT_KNOWN.format("Redis can't be read"))
        return None
    return policy_consequences(moment.snapshot, policy, moment.at_ms)


async def _send(settings: Settings, change: PolicyChange | Command) -> None:
    async with Producer(settings.kafka, prefix=settings.namespace) as producer:
        try:
            await producer.send(change)
        except ProducerError as error:
            raise UserError(f"the policy was not sent: {error}") from None


def _newest(routes: RoutesReader) -> RoutesRecord:
    newest = routes.newest()
    if newest is None:
        raise UserError(NOTHING_YET)
    return newest


def _with(report: PolicyReport, outcome: PolicyOutcome, why: str) -> PolicyReport:
    say(why)
    return msgspec.structs.replace(report, outcome=outcome, why=why)


def _finished(report: PolicyReport, *, as_json: bool) -> int:
    if as_json:
        print(msgspec.json.encode(report).decode())
    return report.exit_status


def _draw(report: PolicyReport, console: Console) -> None:
    """All of the comparison."""
    _draw_head(report, console)
    if report.change is not None:
        console.print("what traffic would do now:")
        draw(report.change, console)
        if rules := pending_rules(report.change, Consent()):
            forced = " ".join(f"--force {rule}" for rule in rules)
            console.print(Text(f"`tieline policy apply` would refuse it without {forced}"))
    if report.replay is not None:
        console.print("what traffic would have done:")
        draw_replay(report.replay, console)


def _draw_head(report: PolicyReport, console: Console) -> None:
    """In what the policies differ."""
    if report.outcome == "unchanged":
        console.print(Text(report.why))
        return
    before = f"policy {report.number - 1} ({report.parent[:8]})"
    console.print(Text(f"policy {report.number} ({report.version[:8]}) in the place of {before}:"))
    for difference in report.differences:
        console.print(Text(f"  {difference.sentence}"))
