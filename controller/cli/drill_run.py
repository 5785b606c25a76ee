"""Begins one drill and follows it: what the leader makes of it, how far it is, and what came of it.

The leader runs the drill (``controller.core.drilling``). What is seen here are its publications, so the drill
goes on when this ends, and ends by itself.
"""

import asyncio
import getpass
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from msgspec import Struct
from redis.exceptions import RedisError

from controller.cli.agreement import say
from controller.cli.give_order import report_of
from controller.cli.order_arguments import checked_order, new_order_id
from controller.cli.order_report import EXIT_DONE, EXIT_TIMED_OUT, Choices, OrderReport
from controller.core.drilling.words import outcome_words, recovery_words, return_words
from controller.core.inspect.alarms import alarms
from controller.core.model.drill import DrillMemory, DrillOutcome, DrillPhase
from controller.core.model.memory import Memory
from controller.core.model.words import sentence
from controller.leading.routes_reader import RoutesReader
from controller.process.settings import Settings
from controller.process.telemetry import without_controls
from controller.routes.record import RoutesRecord
from controller.status.live import Moment, present
from tieline.events import Command

ANSWER_WITHIN_S = 15.0
EXIT_FAILED, EXIT_INTERRUPTED_DRILL, EXIT_NOT_BEGUN = 5, 6, 7
EXITS: dict[DrillOutcome, int] = {
    DrillOutcome.NONE: EXIT_DONE,
    DrillOutcome.SUCCEEDED: EXIT_DONE,
    DrillOutcome.FAILED: EXIT_FAILED,
    DrillOutcome.INTERRUPTED: EXIT_INTERRUPTED_DRILL,
    DrillOutcome.CAPACITY_CHECK_FAILED: EXIT_NOT_BEGUN,
    DrillOutcome.NOT_STARTED: EXIT_NOT_BEGUN,
}
ALARMS_SHOWN = 3


class DrillRequest(NamedTuple):
    """One drill as it is asked for. ``wait_s``: for how long to follow it until the load is back, 0 for not
    at all. ``despite_alarms``: alarms and an overlay are no reason not to begin."""

    scope: str
    reason: str
    duration_ms: int
    wait_s: float = 0.0
    despite_alarms: bool = False
    actor: str | None = None


class DrillReport(Struct, frozen=True, omit_defaults=True):
    """What `--json` prints. ``order`` is None where alarms or an overlay were reason enough not to begin, as
    ``why`` says. ``drill``: as the newest publication has it. ``timed_out``: it is not over yet."""

    scope: str
    order: OrderReport | None = None
    drill: DrillMemory | None = None
    why: str = ""
    timed_out: bool = False

    @property
    def exit_status(self) -> int:
        """The exit status of the command."""
        if self.drill is not None:
            return EXIT_TIMED_OUT if self.timed_out else EXITS[self.drill.outcome]
        return self.order.exit_status if self.order is not None else EXIT_NOT_BEGUN


def order_of(request: DrillRequest, order_id: str, issued_ms: int) -> Command:
    """The order as it is sent. Raises ``UserError`` for one that is not valid."""
    command = Command(
        id=order_id,
        verb="drill",
        scope=request.scope.strip().rstrip("/"),
        actor=request.actor or getpass.getuser(),
        reason=request.reason,
        issued_ms=issued_ms,
        expires_ms=issued_ms + request.duration_ms,
    )
    return checked_order(command)


async def run_drill(request: DrillRequest, settings: Settings, choices: Choices) -> DrillReport:
    """Begins a drill, and follows it for as long as is asked. Raises as ``give_order.report_of`` does."""
    command_at = partial(order_of, request, new_order_id())
    if not choices.dry_run and (why := await unrest(request, settings)):
        say(f"the drill did not begin: {why}")
        return DrillReport(request.scope, why=why)
    report = await report_of(command_at, settings, choices)
    if report.outcome != "published" or choices.dry_run:
        return DrillReport(request.scope, report)
    drill, is_over = await followed(settings, report.order.id, request, tell=_teller(choices))
    return DrillReport(request.scope, report, drill=drill, timed_out=request.wait_s > 0 and not is_over)


async def unrest(request: DrillRequest, settings: Settings) -> str:
    """Why it is no hour for a drill, as far as the leader's decisions do not see it; empty if it is one."""
    if request.despite_alarms or not settings.redis:
        return ""
    try:
        moment = await present(settings)
    except (RedisError, OSError):
        return "Redis can't be read, so nobody can say which alarms stand"
    return unrest_of(moment)


def unrest_of(moment: Moment) -> str:
    """The alarms that stand, and the overlay that is in force, as one sentence; empty without any."""
    if moment.overlay is not None:
        return f"the overlay {moment.overlay.id} is in force (--despite-alarms begins all the same)"
    standing = alarms(moment.snapshot, moment.snapshot.memory or Memory(), moment.at_ms)
    if not standing:
        return ""
    shown = [sentence(alarm, moment.at_ms) for alarm in standing[:ALARMS_SHOWN]]
    more = len(standing) - len(shown)
    also = f"; and {more} more" if more else ""
    return f"{'; '.join(shown)}{also} (--despite-alarms begins all the same)"


async def followed(
    settings: Settings, order_id: str, request: DrillRequest, *, tell: Callable[[str], None]
) -> tuple[DrillMemory | None, bool]:
    """The drill as the last publication has it, and whether it is over. Each step of it is told once."""
    deadline_s = asyncio.get_running_loop().time() + max(request.wait_s, ANSWER_WITHIN_S)
    drill: DrillMemory | None = None
    async with RoutesReader(settings) as routes:
        while True:
            left_s = deadline_s - asyncio.get_running_loop().time()
            record = await routes.until(partial(_is_further, order_id, drill), max(left_s, 0.0))
            if record is None:
                return drill, False
            drill, before = _drill_in(record, order_id), drill
            if drill is None:
                return before, True
            tell(progress_words(drill))
            if drill.phase is DrillPhase.OVER:
                return drill, True
            if not request.wait_s:
                return drill, False


def progress_words(drill: DrillMemory) -> str:
    """How far the drill is, or what came of it, in one line."""
    match drill.phase:
        case DrillPhase.EMPTYING:
            return f"drill {drill.scope} runs: its pools are being emptied"
        case DrillPhase.EMPTY:
            return f"drill {drill.scope} runs: {recovery_words(drill)}"
        case DrillPhase.OVER if drill.recovered_ms or drill.returned_ms:
            return f"{outcome_words(drill)}; {return_words(drill)}"
        case _:
            return outcome_words(drill)


def _drill_in(record: RoutesRecord, order_id: str) -> DrillMemory | None:
    drills = record.memory.drills if record.memory is not None else ()
    return next((drill for drill in drills if drill.id == order_id), None)


def _is_further(order_id: str, before: DrillMemory | None, record: RoutesRecord) -> bool:
    """Whether the publication has the drill in another phase than before, or no longer."""
    drill = _drill_in(record, order_id)
    if before is None or drill is None:
        return drill is not before
    return drill.phase is not before.phase


def _teller(choices: Choices) -> Callable[[str], None]:
    """Progress goes to standard output for people, and to standard error beside a JSON object."""
    return say if choices.as_json else lambda text: print(without_controls(text), flush=True)
