"""Plans of drills: a file of steps, each a drill, a wait or an approval, and how it is gone through.

    name: quarterly
    steps:
      - wait: quiet            # until no alarm stands, nothing is shed and no drill runs
        within: 30m
      - approve: Is the on-call person informed?
        by: kim
      - drill: azure/swedencentral
        for: 10m
      - wait: 15m
      - drill: azure
        for: 20m

Each drill is an order of its own, with the plan and the step in its reason, so the history has the result of
each. A drill for which the policy asks for two people waits until the second has signed. A step that does
not succeed ends the plan. A plan goes only as far as this process runs; a drill that has begun goes on.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml
from msgspec import Struct

from controller.cli.agreement import say
from controller.cli.drill_run import DrillReport, DrillRequest, followed, order_of, run_drill, unrest_of
from controller.cli.give_order import check_policy
from controller.cli.order_report import EXIT_DONE, EXIT_NOT_APPLIED, EXIT_PENDING, EXIT_TIMED_OUT, Choices
from controller.cli.signer import signer_of
from controller.cli.terminal import duration_ms
from controller.core.model.drill import DrillPhase
from controller.core.model.memory import Memory
from controller.leading.routes_reader import RoutesReader
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.settings import Settings
from controller.routes.record import RoutesRecord
from controller.status.live import Moment, present

FILE_BYTES_MAX = 1_000_000
STEPS_MAX = 100
QUIET_WITHIN = "30m"
QUIET_POLL_S = 5.0
SIGNED_WITHIN_S = 900.0  # an order that is not countersigned lapses then
RETURN_WITHIN_S = 1_200.0
KINDS = {"drill": {"drill", "for"}, "wait": {"wait", "within"}, "approve": {"approve", "by"}}


class PlanStep(Struct, frozen=True):
    """One step. ``what``: the scope of a drill, ``quiet``, or the question of an approval. ``length_ms``: how
    long a drill or a wait lasts, or for how long quiet is waited for at most. ``by``: who must approve."""

    kind: str
    what: str
    length_ms: int = 0
    by: str = ""

    @property
    def words(self) -> str:
        """The step in one line."""
        match self.kind:
            case "drill":
                return f"drill {self.what} for {self.length_ms // 1_000} s"
            case "approve":
                return f"{self.by or 'the person at the terminal'} approves: {self.what}"
            case _ if self.what == "quiet":
                return f"wait until all is quiet, at most {self.length_ms // 1_000} s"
            case _:
                return f"wait for {self.length_ms // 1_000} s"


class DrillPlan(Struct, frozen=True):
    """A plan as it was read."""

    name: str
    steps: tuple[PlanStep, ...]


class PlanChoices(NamedTuple):
    """How a plan is to be gone through."""

    reason: str
    choices: Choices
    despite_alarms: bool = False
    actor: str | None = None


def read_plan(path: Path) -> DrillPlan:
    """The plan in a file. Raises ``UserError`` with every mistake in it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        raise UserError(f"{path} has more than {FILE_BYTES_MAX} bytes")
    return parse_plan(data, name=str(path))


def parse_plan(data: bytes | str, *, name: str) -> DrillPlan:
    """The plan in YAML text. Raises ``UserError`` with every mistake in it."""
    try:
        value = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{name} is not YAML: {str(error).splitlines()[0]}") from None
    steps = value.get("steps") if isinstance(value, dict) else None
    if not isinstance(steps, list) or not 0 < len(steps) <= STEPS_MAX:
        raise UserError(f"{name}: give `steps`, a list of 1 to {STEPS_MAX} steps")
    mistakes = [
        f"{name}: there is no field {key!r}: a plan has name and steps"
        for key in set(value) - {"name", "steps"}
    ]
    parsed = []
    for number, step in enumerate(steps, start=1):
        try:
            parsed.append(_step(step))
        except UserError as error:
            mistakes.append(f"{name}: step {number}: {error}")
    if mistakes:
        raise UserError("\n".join(mistakes))
    return DrillPlan(str(value.get("name") or Path(name).stem), tuple(parsed))


def _step(value: Any) -> PlanStep:
    kinds = [kind for kind in KINDS if isinstance(value, dict) and kind in value]
    if len(kinds) != 1:
        raise UserError("give one of drill, wait and approve")
    kind = kinds[0]
    if unknown := sorted(map(str, set(value) - KINDS[kind])):
        raise UserError(f"{kind} has no {', '.join(unknown)}")
    what = str(value[kind] or "").strip()
    if not what:
        raise UserError(f"{kind} must not be empty")
    if kind == "approve":
        return PlanStep(kind, what, by=str(value.get("by") or ""))
    if kind == "drill":
        if "for" not in value:
            raise UserError(f"drill {what} needs `for`, such as `for: 10m`")
        step = PlanStep(kind, what, duration_ms(str(value["for"]), "for"))
        order_of(DrillRequest(what, "a plan", step.length_ms), "cmd-plan", now_ms())
        return step
    if what == "quiet":
        return PlanStep(kind, what, duration_ms(str(value.get("within", QUIET_WITHIN)), "within"))
    if "within" in value:
        raise UserError("within belongs to `wait: quiet`")
    return PlanStep(kind, what, duration_ms(what, "wait"))


async def run_plan(plan: DrillPlan, settings: Settings, how: PlanChoices) -> int:
    """Goes through the plan, and returns the exit status of the step that ended it. Raises ``UserError`` for
    a plan with mistakes, before anything is done."""
    await _check(plan, settings, how)
    results: list[dict[str, Any]] = []
    status, approvals = EXIT_DONE, list[str]()
    for number, step in enumerate(plan.steps, start=1):
        say(f"plan {plan.name}, step {number} of {len(plan.steps)}: {step.words}")
        place = f"plan {plan.name}, step {number} of {len(plan.steps)}"
        status = await _do(step, place, settings, how, approvals)
        results.append({"step": step.words, "exit_status": status})
        if status != EXIT_DONE:
            say(f"{place} did not succeed: the plan ends here")
            break
    if how.choices.as_json:
        print(msgspec.json.encode({"plan": plan.name, "steps": results, "exit_status": status}).decode())
    return status


async def _check(plan: DrillPlan, settings: Settings, how: PlanChoices) -> None:
    """Raises ``UserError`` with every drill that the policy in force does not know or allow."""
    async with RoutesReader(settings) as routes:
        record = routes.newest()
    if record is None:
        raise UserError("no controller has published anything yet: start one with `tieline controller`")
    if mistakes := list(plan_mistakes(plan, settings, how, record)):
        raise UserError("\n".join(mistakes))


def plan_mistakes(
    plan: DrillPlan, settings: Settings, how: PlanChoices, record: RoutesRecord
) -> Iterator[str]:
    """What the policy in force has against the drills of the plan, and what nobody could approve."""
    signer = signer_of(how.choices.signing, record, settings.namespace)
    for number, step in enumerate(plan.steps, start=1):
        if step.kind == "drill":
            order = order_of(DrillRequest(step.what, how.reason, step.length_ms), "cmd-plan", now_ms())
            try:
                check_policy(order, record)
                signer.signed(order)
            except UserError as error:
                yield f"plan {plan.name}: step {number}: {error}"
        elif step.kind == "approve" and not how.choices.dry_run and not sys.stdin.isatty():
            yield f"plan {plan.name}: step {number}: nobody can approve it, as there is no terminal to ask at"


async def _do(step: PlanStep, place: str, settings: Settings, how: PlanChoices, approvals: list[str]) -> int:
    match step.kind:
        case "drill":
            return await _drill(step, place, settings, how, approvals)
        case _ if how.choices.dry_run:
            return EXIT_DONE
        case "approve":
            return await _approve(step, approvals)
        case _ if step.what == "quiet":
            return await _until_quiet(settings, step.length_ms / 1_000)
        case _:
            await asyncio.sleep(step.length_ms / 1_000)
            return EXIT_DONE


async def _drill(
    step: PlanStep, place: str, settings: Settings, how: PlanChoices, approvals: list[str]
) -> int:
    signed = f"; approved by {' and '.join(approvals)}" if approvals else ""
    request = DrillRequest(
        step.what,
        f"{place}: {how.reason}{signed}",
        step.length_ms,
        wait_s=step.length_ms / 1_000 + RETURN_WITHIN_S,
        despite_alarms=how.despite_alarms,
        actor=how.actor,
    )
    report = await run_drill(request, settings, how.choices._replace(as_json=False))
    if report.exit_status != EXIT_PENDING or report.order is None:
        return report.exit_status
    return await _signed_and_over(report.order.order.id, request, settings)


async def _signed_and_over(order_id: str, request: DrillRequest, settings: Settings) -> int:
    """Waits for the second person, and then for the drill."""
    within = request._replace(wait_s=request.wait_s + SIGNED_WITHIN_S)
    drill, is_over = await followed(settings, order_id, within, tell=say)
    if drill is None:
        return EXIT_PENDING
    return DrillReport(request.scope, drill=drill, timed_out=not is_over).exit_status


async def _approve(step: PlanStep, approvals: list[str]) -> int:
    """Asks who sits at the terminal: who approves types their name, and the one that the step names."""
    question = f"{step.what} Type {step.by or 'your name'} to go on, anything else to end the plan: "
    reply = (await asyncio.to_thread(input, question)).strip()
    if not reply or (step.by and reply != step.by):
        return EXIT_NOT_APPLIED
    approvals.append(reply)
    return EXIT_DONE


async def _until_quiet(settings: Settings, within_s: float) -> int:
    """Waits until no alarm stands, nothing is shed and no drill runs."""
    loop = asyncio.get_running_loop()
    deadline_s, last = loop.time() + within_s, ""
    while why := noise_of(await present(settings)):
        if why != last:
            say(f"not quiet yet: {why}")
            last = why
        if loop.time() + QUIET_POLL_S > deadline_s:
            return EXIT_TIMED_OUT
        await asyncio.sleep(QUIET_POLL_S)
    return EXIT_DONE


def noise_of(moment: Moment) -> str:
    """What is not quiet at this moment; empty if all is."""
    snapshot = moment.snapshot
    memory = snapshot.memory or Memory()
    running = [drill.scope for drill in memory.drills if drill.phase is not DrillPhase.OVER]
    if running:
        return f"the drill of {running[0]} is not over"
    shed = [route.name for route in snapshot.table.routes if route.split.shed] if snapshot.table else []
    return f"{shed[0]} is shed" if shed else unrest_of(moment)
