"""The page's question "what if": the answer of `tieline whatif`, within a time, one question a caller.

The answer is worked out in a thread. A thread can't be ended, so the place of a question that takes too long
stays taken until it is answered, and its caller hears of the time-out.
"""

import asyncio
from typing import Any

from controller.core.inspect.what_if import WhatIfAnswer
from controller.core.model.words import sentence
from controller.process.errors import UserError
from controller.status.live import Moment
from controller.status.what_if import WhatIfReport, growth_of, one_loss
from controller.web.live import figure
from tieline.table import CRITICALITIES

ANSWER_WITHIN_S = 10.0
NAMES_MAX = 8
UNITS_MIN = 0.5  # less is rounding


class BusyError(Exception):
    """The caller's last question is not answered yet, or the answer takes too long: try again later."""


class Rehearsals:
    """Answers questions one after another, and refuses a second one of the same caller. ``running``: those
    that are not answered yet."""

    def __init__(self, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self._within_s = answer_within_s
        self._turn = asyncio.Lock()
        self._asking: set[str] = set()
        self.running: set[asyncio.Task[WhatIfReport]] = set()

    async def ask(self, caller: str, moment: Moment, names: list[str], growth: str) -> WhatIfReport:
        """The answer. Raises ``UserError`` for a question that can't be asked, and ``BusyError``."""
        if not names or len(names) > NAMES_MAX:
            raise UserError(f"lose: name 1 to {NAMES_MAX} providers, regions, pools or failure domains")
        if caller in self._asking:
            raise BusyError("your last question is not answered yet")
        grown = growth_of(growth)
        self._asking.add(caller)
        task = asyncio.create_task(self._answer(caller, moment, names, grown))
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        try:
            async with asyncio.timeout(self._within_s):
                return await asyncio.shield(task)
        except TimeoutError:
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise BusyError(f"the answer takes longer than {self._within_s:g} s") from None

    async def _answer(self, caller: str, moment: Moment, names: list[str], growth: float) -> WhatIfReport:
        try:
            async with self._turn:
                return await asyncio.to_thread(one_loss, moment, names, growth)
        finally:
            self._asking.discard(caller)


def shown(report: WhatIfReport) -> dict[str, Any]:
    """The answer as the page shows it: a sentence, and rows of names and figures."""
    answer = report.answers[0]
    lost = frozenset(answer.lost)
    pools = sorted(answer.pools, key=lambda pool: -abs(pool.after - pool.before))
    return {
        "at_ms": report.at_ms,
        "generation": report.generation,
        "summary": summary(report),
        "figures": _figures(answer, report.load_unit),
        "routes": [
            [route.route, figure(route.offered), figure(route.shed), figure(route.failed)]
            for route in sorted(answer.after.routes, key=lambda route: -(route.shed + route.failed))
            if route.shed + route.failed > UNITS_MIN
        ],
        "pools": [
            [
                f"{pool.pool} (lost)" if pool.pool in lost else pool.pool,
                figure(pool.before),
                figure(pool.after),
                figure(pool.limit),
            ]
            for pool in pools
            if abs(pool.after - pool.before) > UNITS_MIN
        ],
        "broken": [sentence(verdict, report.at_ms) for verdict in answer.after.broken],
    }


def summary(report: WhatIfReport) -> str:
    """What the loss would do, in one or two sentences."""
    answer, unit = report.answers[0], report.load_unit
    after = answer.after
    moved = f"{answer.moved_units_per_s:,.0f} {unit}/s would move at once."
    lost = {name: units for name, units in after.shed_by_criticality.items() if units > UNITS_MIN}
    if not lost and after.failed <= UNITS_MIN:
        return f"Everything would be served. {moved}"
    parts = [f"{lost[name]:,.0f} {name.replace('_', ' ')}" for name in CRITICALITIES if name in lost]
    shed = f"{', '.join(parts)} {unit}/s would be shed" if parts else "Nothing would be shed"
    failing = f", and {after.failed:,.0f} would fail" if after.failed > UNITS_MIN else ""
    served = f" {after.served / after.offered:.1%} of the demand would be served." if after.offered else ""
    return f"{shed}{failing}.{served} {moved}"


def _figures(answer: WhatIfAnswer, unit: str) -> list[list[Any]]:
    before, after = answer.before, answer.after
    rows: list[tuple[str, float, float]] = [
        (f"Offered, {unit}/s", before.offered, after.offered),
        ("Served", before.served, after.served),
        ("Fails at lost or failing pools", before.failed, after.failed),
    ]
    for name, units in after.shed_by_criticality.items():
        rows.append((f"Shed, {name.replace('_', ' ')}", before.shed_by_criticality[name], units))
    rows.append(("Burst, money per hour", before.burst_money_per_hour, after.burst_money_per_hour))
    return [[name, figure(was), figure(now)] for name, was, now in rows]
