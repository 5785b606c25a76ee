"""Questions "what if" as a person asks them, by name, and their answers: for `tieline whatif` and the page.

The answers are the planner's own (``core.inspect.what_if``). Pure.
"""

import re
from collections.abc import Iterable

from msgspec import Struct

from controller.core.inspect.what_if import (
    Loss,
    WhatIfAnswer,
    WhatIfQuestion,
    losses,
    single_losses,
    what_ifs,
)
from controller.core.policy.check import near_miss
from controller.core.policy.policy import Policy
from controller.process.errors import UserError
from controller.status.live import Moment

GROWTH_PERCENT_MAX = 10_000


class WhatIfReport(Struct, frozen=True):
    """What `--json` prints: the answers in the order of ``names``."""

    at_ms: int
    generation: str
    load_unit: str
    names: tuple[str, ...]
    answers: tuple[WhatIfAnswer, ...]


def one_loss(moment: Moment, names: list[str], growth: float) -> WhatIfReport:
    """What is left when all of ``names`` are lost together and demand grows. Raises ``UserError``."""
    question = WhatIfQuestion(lost_pools(moment.snapshot.policy, names), growth)
    return _report(moment, (" and ".join(names) or "nothing",), (question,))


def every_loss(moment: Moment, growth: float) -> WhatIfReport:
    """What is left when nothing is lost, and after each single loss of a provider, region or domain."""
    single = single_losses(moment.snapshot.policy)
    names = ("nothing", *(f"{loss.kind} {loss.name}" for loss in single))
    questions = (WhatIfQuestion((), growth), *(WhatIfQuestion(loss.pools, growth) for loss in single))
    return _report(moment, names, questions)


def _report(moment: Moment, names: tuple[str, ...], questions: Iterable[WhatIfQuestion]) -> WhatIfReport:
    table, policy = moment.snapshot.table, moment.snapshot.policy
    return WhatIfReport(
        moment.at_ms,
        str(table.generation) if table is not None else "",
        policy.clients.load_unit,
        names=names,
        answers=what_ifs(moment.snapshot, moment.at_ms, questions),
    )


def growth_of(text: str) -> float:
    """``20%`` -> 0.2. Raises ``UserError``."""
    typed = re.fullmatch(r"([+-]?\d{1,5}(?:\.\d{1,3})?)\s*%", text.strip())
    percent = float(typed[1]) if typed else -100.0
    if not -100 < percent <= GROWTH_PERCENT_MAX:
        raise UserError(f"--growth {text!r}: give a percentage above -100%, like 20% or -10%")
    return percent / 100


def lost_pools(policy: Policy, names: list[str]) -> tuple[str, ...]:
    """The pools that are lost with these names, in the policy's order. Raises ``UserError``."""
    by_name: dict[str, list[Loss]] = {}
    for loss in losses(policy):
        by_name.setdefault(loss.name, []).append(loss)
    lost: set[str] = set()
    for name in (typed.strip().rstrip("/") for typed in names):
        if name not in by_name:
            raise UserError(
                f"--lose {name!r}: the policy has no such provider, region, pool or failure domain"
                f"{near_miss(name, set(by_name))}"
            )
        lost.update(pool for loss in by_name[name] for pool in loss.pools)
    return tuple(pool.id for pool in policy.pools if pool.id in lost)
