"""Gives one order: checks it, says what it would change, sends it, and says what came of it.

The order is done when three things have happened: the leader has accepted it, which its next publication says
by the order's own id; a table that contains it is published in Kafka; and Redis has that table for clients.
`--wait` goes on until clients use it (``client_wait``).
"""

import asyncio
import getpass
from collections.abc import Callable

import msgspec

from controller.cli.agreement import is_agreed, say
from controller.cli.client_wait import ClientWait
from controller.cli.order_arguments import new_order_id
from controller.cli.order_report import Choices, OrderReport
from controller.cli.outcome import outcome, wait_for_clients
from controller.cli.signer import Signer, signer_of
from controller.commands.authority import OrderRules, verb_and_scope
from controller.commands.log import CommandLog
from controller.core.evidence.reported import route_offers
from controller.core.inspect.consequences import Consequences, consequences
from controller.core.model.words import duration, in_words
from controller.core.offers.answers import reply_fault, reply_of_order
from controller.core.orders.words import described
from controller.core.policy.check import near_miss
from controller.core.policy.compiled import compile_policy
from controller.core.policy.lawful import forbidden_by, origins_of
from controller.core.policy.policy import Policy, decode_policy
from controller.leading.routes_reader import RoutesReader
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.redis_reader import RedisUnreadError
from controller.process.settings import Settings
from controller.process.telemetry import without_controls
from controller.routes.record import PendingOrder, RoutesRecord
from controller.status.leadership import leader_of
from controller.status.live import Moment, moment_of, read_commands
from controller.status.redis_side import RedisSide
from controller.status.words import taken_back_by, utc, waiting_words
from tieline.events import Command, in_scope, taken_back
from tieline.order_signing import fingerprint
from tieline.producer import Producer, ProducerError

HEARTBEAT_WITHIN_S = 1.5
TAKES_OUT = ("drain", "evacuate", "drill", "pin", "failover")
SKEW_TOLD_MS = 5_000  # heartbeats come every half second, so less may be delay


async def give(command_at: Callable[[int], Command], settings: Settings, choices: Choices) -> int:
    """Returns the exit status. ``command_at`` makes the order as of an instant, by the brokers' clock.

    Raises ``UserError`` for an order that would change nothing, KafkaError where Kafka is away.
    """
    command_at(now_ms())  # a mistake in it is told before anything is reached
    report = await report_of(command_at, settings, choices)
    if choices.as_json:
        print(msgspec.json.encode(report).decode())
    return report.exit_status


async def report_of(
    command_at: Callable[[int], Command], settings: Settings, choices: Choices
) -> OrderReport:
    """Gives the order and says what came of it. Raises as ``give`` does."""
    async with RoutesReader(settings) as routes:
        before = routes.newest()
        behind_ms = await behind_by_ms(routes)
        if before is None:
            raise UserError("no controller has published anything yet: start one with `tieline controller`")
        command = command_at(now_ms() + behind_ms)
        log = await read_commands(settings, before)
        subject = subject_of(command, log, now_ms() + behind_ms)
        check_policy(subject, before)
        signer = signer_of(choices.signing, before, settings.namespace)
        signer.signed(command)  # what this operator may not order is told before anything is asked
        check_taken_back(subject, log, now_ms() + behind_ms)
        moment = await _moment(settings, before, log)
        change = _change(subject, moment, log)
        if choices.dry_run:
            return _dry_run(subject, change, choices)
        if not await is_agreed(described(subject), change, choices.consent, may_shed=may_shed(subject)):
            return OrderReport(command, "not_agreed", change=change)
        async with Producer(settings.kafka, prefix=settings.namespace) as producer:
            # It lasts from now, not from before all of this.
            command = signer.signed(command_at(now_ms() + behind_ms))
            subject = subject if command.countersigns else command
            try:
                sent = await producer.send(command)
            except ProducerError as error:
                raise UserError(f"the order was not sent: {error}") from None
        after = await routes.until(lambda record: record.answer_to(command.id) is not None, choices.within_s)
    answer = after.answer_to(command.id) if after is not None else None
    if after is None or answer is None:
        why = _waits(command, f"{sent.topic} at offset {sent.offset}", choices.within_s, signer)
        return _told(OrderReport(command, "unanswered", why, change=change))
    if answer.refused:
        why = f"the leader refused the order {command.id}: {answer.refused}; nothing was changed"
        return _told(OrderReport(command, "refused", why, change=change))
    if not choices.as_json:
        print(without_controls(f"{signer.notice}{_in_full(command, subject)}"))
    if (item := after.pending_order(subject.id)) is not None:
        why = f"it is not in force yet: {waiting_words(item)}"
        return _told(OrderReport(command, "pending", why, generation=str(after.generation), change=change))
    report = OrderReport(command, "published", generation=str(after.generation), change=change)
    offers = route_offers(moment.snapshot.demand, moment.at_ms) if moment is not None else {}
    if not choices.as_json:
        moved = outcome(subject.scope, before, after, offers)
        print(f"published as {after.generation}{moved}", flush=True)
    return await _followed(report, subject, settings, after, choices)


async def _followed(
    report: OrderReport,
    command: Command,
    settings: Settings,
    after: RoutesRecord,
    choices: Choices,
) -> OrderReport:
    """Waits for whoever is to have what was published for this command."""
    if fault := await wait_for_clients(settings, after.generation):
        why = f"{fault}: clients keep the table that they have until it is there"
        return _told(msgspec.structs.replace(report, outcome="not_projected", why=why))
    if not choices.wait:
        return report
    policy = decode_policy(after.policy)
    emptied = frozenset(pool.id for pool in policy.pools if in_scope(pool.id, command.scope))
    waiting = ClientWait(
        settings,
        after.generation,
        emptied if choices.wait == "idle" else frozenset(),
        interval_ms=policy.clients.report_interval_ms,
    )
    why = await waiting.run(choices.within_s)
    report = msgspec.structs.replace(report, clients=waiting.progress)
    return _told(msgspec.structs.replace(report, outcome="not_taken_over", why=why)) if why else report


def _dry_run(command: Command, change: Consequences | None, choices: Choices) -> OrderReport:
    why = "" if change else "what the order would change is not known, as Redis can't be read"
    if change is None:
        say(why)
    elif not choices.as_json:
        from controller.cli.change_tables import draw
        from controller.cli.terminal import screen

        draw(change, screen())
        print(without_controls(f"nothing was sent: {described(command)}"))
    return OrderReport(command, "dry_run", why, change=change)


def _told(report: OrderReport) -> OrderReport:
    say(report.why)
    return report


def subject_of(command: Command, log: CommandLog, at_ms: int) -> Command:
    """The order that takes effect with this command: itself, or the one that it countersigns. Raises
    ``UserError`` if that one does not wait for a signature."""
    if command.verb != "countersign":
        return command
    order_id = command.countersigns.partition("#")[0]
    for item in log.waiting(at_ms):
        if item.order.id == order_id and isinstance(item.order, Command):
            return item.order
    raise UserError(f"no order {order_id} waits for a signature: see `tieline status`")


def agreement(item: PendingOrder, reason: str, actor: str | None, issued_ms: int) -> Command:
    """The command that agrees to exactly this order."""
    order = item.order
    return Command(
        id=new_order_id(),
        verb="countersign",
        scope=verb_and_scope(order)[1],
        actor=actor or getpass.getuser(),
        reason=reason,
        issued_ms=issued_ms,
        countersigns=f"{order.id}#{fingerprint(order.signature)}",
    )


def _in_full(command: Command, subject: Command) -> str:
    """Such as ``drain oci until 2026-01-31 12:00:00 UTC by kim: maintenance``."""
    until = f" until {utc(subject.expires_ms)}" if subject.expires_ms is not None else ""
    text = f"{described(subject)}{until} by {subject.actor}: {subject.reason}"
    return text if command is subject else f"{text}; countersigned by {command.actor}: {command.reason}"


def may_shed(command: Command) -> bool:
    """Whether the order takes pools out of use, so that load may be left without a place."""
    return command.verb in TAKES_OUT or (command.verb == "verdict" and command.state == "down")


async def _moment(settings: Settings, before: RoutesRecord, log: CommandLog) -> Moment | None:
    """The live tables before the order; None where these can't be read, which is said."""
    if not settings.redis or before.table is None:
        say("what the order would change is not known, as TIELINE_REDIS is not set")
        return None
    try:
        async with RedisSide(settings) as redis:
            return await moment_of(redis, before, log.in_force(now_ms()))
    except RedisUnreadError:
        say("what the order would change is not known, as Redis can't be read")
        return None


def _change(command: Command, moment: Moment | None, log: CommandLog) -> Consequences | None:
    """What the order would change on the live tables; None where these are not known."""
    if moment is None:
        return None
    at_ms = moment.at_ms
    rules, unsigned = OrderRules(unsigned_allowed=True), msgspec.structs.replace(command, signature="")
    if command.verb == "drill":  # what it moves if nothing stands in its way
        unsigned = msgspec.structs.replace(unsigned, verb="evacuate")
    standing = CommandLog(orders=log.orders)  # what it does to these, whoever gives it
    after = standing.apply(0, at_ms, unsigned, rules=rules).in_force(at_ms)
    return consequences(moment.snapshot, msgspec.structs.replace(moment.snapshot, commands=after), at_ms)


def check_policy(command: Command, record: RoutesRecord) -> None:
    """Raises ``UserError`` unless the policy in force has something that this order could concern."""
    policy = decode_policy(record.policy)
    scope = command.scope
    scopes = {pool.id for pool in policy.pools} | {"*"} | {provider.id for provider in policy.providers}
    scopes |= {pool.id.rsplit("/", 1)[0] for pool in policy.pools}
    if scope not in scopes:
        raise UserError(f"the policy in force has no {scope!r}{near_miss(scope, scopes - {'*'})}")
    if command.workload:
        _check_workload(command, policy)
    if command.offer:
        _check_offer(command, policy, record)
    provider = next((item for item in policy.providers if item.id == scope.split("/")[0]), None)
    orders = {order.scope: order.mode for order in record.orders if order.verb == "mode"}
    mode = provider and (orders.get(provider.id) or provider.mode)
    if command.verb == "approve" and provider and mode != "recommend":
        raise UserError(f"{provider.id} is in mode {mode}: only a provider in mode recommend can be approved")
    if command.verb == "failback" and provider and provider.failback != "manual":
        raise UserError(f"failback of {provider.id} is auto: its pools return by themselves")


def _check_workload(command: Command, policy: Policy) -> None:
    """Raises ``UserError`` unless the pool may serve the workload, by law and contract, from some origin."""
    workloads = {item.id: item for item in policy.workloads}
    workload = workloads.get(command.workload)
    if workload is None:
        name = command.workload
        raise UserError(f"the policy in force has no workload {name!r}{near_miss(name, set(workloads))}")
    pool = next(item for item in policy.pools if item.id == command.scope)
    reasons = [forbidden_by(pool, workload, origin) for origin in origins_of(policy, workload)]
    if None not in reasons:
        why = "; ".join(sorted({in_words(reason) for reason in reasons if reason}))
        raise UserError(f"{pool.id} may not serve {workload.id}: {why}")


def _check_offer(command: Command, policy: Policy, record: RoutesRecord) -> None:
    """Raises ``UserError`` unless the answer would count for an open request for capacity."""
    requests = {request.id: request for request in (record.memory.offers if record.memory else ())}
    request = requests.get(command.offer)
    if request is None:
        raise UserError(f"there is no request {command.offer!r}{near_miss(command.offer, requests)}")
    if fault := reply_fault(compile_policy(policy), request, reply_of_order(command), now_ms()):
        raise UserError(f"the answer would not count: {fault}")


def check_taken_back(command: Command, log: CommandLog, at_ms: int) -> None:
    """Raises ``UserError`` for an order that takes back what is neither in force nor waits to be."""
    verbs = taken_back(command)
    if not verbs:
        return
    orders = (*log.in_force(at_ms), *(item.order for item in log.waiting(at_ms)))
    standing = [order for order in orders if isinstance(order, Command) and order.verb in verbs]
    target = (command.scope, command.guard, command.workload)
    if any((order.scope, order.guard, order.workload) == target for order in standing):
        return
    *kinds, last = ("evacuation" if verb == "evacuate" else verb for verb in verbs)
    verb = f"{', '.join(kinds)} or {last}" if kinds else last
    others = "; ".join(f"{described(order)}, by {order.actor}" for order in standing)
    about = described(command).removeprefix(f"{command.verb} ").removesuffix(" policy")
    instead = f"in force are: {others}" if others else f"no {verb} is in force"
    raise UserError(f"there is no {verb} of {about} to take back: {instead}")


async def behind_by_ms(routes: RoutesReader) -> int:
    """How far this machine's clock is behind the brokers', who say when an order ends; 0 if it is not known,
    or less than the delay of a heartbeat may explain."""
    leader = leader_of(routes.leader_log)
    if leader is None:
        return 0
    behind_ms = leader.heard_ms - now_ms()
    if behind_ms < -SKEW_TOLD_MS:
        # Either this clock is ahead, or the leader has fallen silent: then its heartbeats don't go on.
        behind_ms = await _behind_by_next_heartbeat_ms(routes, leader.heard_ms)
    if abs(behind_ms) < SKEW_TOLD_MS:
        return 0
    words = "behind" if behind_ms > 0 else "ahead of"
    say(
        f"the clock of this machine is {duration(abs(behind_ms))} {words} the brokers': "
        "the order's time counts by theirs"
    )
    return behind_ms


async def _behind_by_next_heartbeat_ms(routes: RoutesReader, heard_ms: int) -> int:
    """The same by a heartbeat later than ``heard_ms``; 0 if none comes."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + HEARTBEAT_WITHIN_S
    while (left_s := deadline_s - loop.time()) > 0:
        await routes.leader_moved(left_s)
        leader = leader_of(routes.leader_log)
        if leader is not None and leader.heard_ms > heard_ms:
            return leader.heard_ms - now_ms()
    return 0


def _waits(command: Command, place: str, wait_s: float, signer: Signer) -> str:
    """What has become of an order that nobody has answered yet."""
    text = (
        f"{signer.notice}the order {command.id} was written to {place}, but no controller has answered "
        f"within {wait_s:g} s: is one running? See `tieline status`. It waits there, and the next leader "
        "will carry it out"
    )
    if command.expires_ms is None:
        return text
    back = taken_back_by(command)
    remedy = f"; to take it back: {back}" if back else ""
    return f"{text} unless that is after {utc(command.expires_ms)}{remedy}"
