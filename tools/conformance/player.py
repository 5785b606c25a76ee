"""One client's decisions in one world: a table, pools that fail and recover, and a clock that stands until a
step moves it.

Each step names its instant ``at_ms``, and the router is ticked there first. What a step does stands under
``do``:

    pick      where a request goes, without sending it
    ended     an attempt that the application sent itself has ended with ``result``
    alive     a stream has given its first output
    table     another table
    begin     a request enters the machine of retries; the action is what to do first
    failed    the attempt that the machine has ordered has ended so
    served    it has ended well
    resume    the wait that the machine has ordered is over
"""

import itertools
from typing import Any

from tieline._request.exchange import AGAIN_FIRST_S, AGAIN_LONGEST_S
from tieline._request.retry_rule import Action, Attempts, GiveUp, Refuse, Send, Wait, Wish
from tieline._routing.budget import RetryBudget
from tieline._routing.route import Needs, Reason, Route, Shed
from tieline._routing.router import Router
from tieline.backoff import Backoff
from tieline.blame import Blame
from tieline.events import ResultClass
from tieline.providers.answers import Reading, Topic
from tools.conformance.plain import Json, table_of

MOVED = (Reason.FAILOVER, Reason.LAST_RESORT)


class Player:
    """Plays the steps of one case. ``chances``: the numbers that stand for chance, used in turn, from the
    first again after the last."""

    def __init__(self, case: Json) -> None:
        self._now_ms = 0
        chances = itertools.cycle(case["chances"])
        self._chance = lambda: next(chances)
        self._router = Router(
            "chat", case["origin"], clock=lambda: self._now_ms, phase=case["phase"], chance=self._chance
        )
        self._router.apply(table_of(case["table"]))
        self._budget = RetryBudget()
        self._machines: dict[int, Attempts] = {}
        self._routes: dict[int, Route] = {}

    def play(self, step: Json) -> Any:
        """What the step gives."""
        self._now_ms = step["at_ms"]
        self._router.tick(self._now_ms)
        return getattr(self, f"_{step['do']}")(step)

    def _pick(self, step: Json) -> Json:
        needs = step.get("needs")
        return told(
            self._router.choose(
                step["model"],
                session=step.get("session"),
                needs=Needs(needs["context_tokens"], frozenset(needs["features"])) if needs else None,
                exclude=tuple(step.get("exclude", ())),
            )
        )

    def _ended(self, step: Json) -> Json:
        blame = step.get("blame")
        self._router.record(
            step["pool"],
            step["model"],
            ResultClass(step["result"]),
            retry_after_ms=step.get("retry_after_ms"),
            blame=Blame(blame) if blame else None,
            subject=step.get("subject", 0),
        )
        return self._state()

    def _alive(self, step: Json) -> Json:
        self._router.alive(step["pool"])
        return self._state()

    def _table(self, step: Json) -> Json:
        self._router.apply(table_of(step["table"]))
        return self._state()

    def _begin(self, step: Json) -> Json:
        wish = Wish(
            step["model"],
            self._now_ms + step["deadline_ms"],
            session=step.get("session"),
            bound=step.get("bound", False),
            seeks=step.get("seeks", False),
            attempts_max=step.get("attempts_max", 3),
        )
        backoff = Backoff(AGAIN_FIRST_S, AGAIN_LONGEST_S, chance=self._chance)
        machine = self._machines[step["request"]] = Attempts(
            wish,
            self._router.choose,
            self._budget,
            pacing=self._router,
            next_wait_ms=lambda: int(backoff.next_s() * 1_000),
        )
        return self._ordered(step, machine.begin(self._now_ms))

    def _failed(self, step: Json) -> Json:
        reading, route = reading_of(step["reading"]), self._routes[step["request"]]
        self._router.record(
            route.pool,
            route.target.model,
            reading.result,
            retry_after_ms=step.get("retry_after_ms"),
            blame=reading.blame,
        )
        action = self._machines[step["request"]].failed(
            reading,
            self._now_ms,
            fruitless=lambda pool: self._router.health(pool).fruitless(self._now_ms),
            called_back=step.get("called_back", False),
            retry_after_ms=step.get("retry_after_ms"),
        )
        return self._ordered(step, action)

    def _served(self, step: Json) -> Json:
        route = self._routes[step["request"]]
        if route.reason in MOVED:
            self._router.took_over(route.pool)
        self._router.record(route.pool, route.target.model, ResultClass.OK)
        return self._state()

    def _resume(self, step: Json) -> Json:
        return self._ordered(step, self._machines[step["request"]].resume(self._now_ms))

    def _ordered(self, step: Json, action: Action) -> Json:
        match action:
            case Send(route=route, left_ms=left_ms):
                self._routes[step["request"]] = route
                may_leave = self._machines[step["request"]].may_leave()
                return {"send": told(route), "left_ms": left_ms, "may_leave": may_leave}
            case Wait(wait_ms=wait_ms):
                return {"wait_ms": wait_ms}
            case GiveUp(why=why, shed=shed):
                return {"give_up": why.value, "reason": shed.reason.value if shed else None}
            case Refuse(shed=shed):
                return {"refuse": shed.reason.value, "retry_after_ms": shed.retry_after_ms}

    def _state(self) -> Json:
        """Pools that this client keeps away from, wholly or in part; one that is in is not named."""
        rows = self._router.explain()
        pools = {
            row["pool"]: {
                "out": row["out"],
                "for_ms": row["out_for_ms"],
                "kept_back": row["kept_back"],
                "models": {
                    model: [out["out"], out["out_for_ms"]] for model, out in row["models_out"].items()
                },
            }
            for row in rows
            if row["out"] or row["kept_back"] or row["models_out"]
        }
        return {"split": rows[0]["split"] if rows else None, "pools": pools}


def told(choice: Route | Shed) -> Json:
    """A choice as it stands in a case."""
    if isinstance(choice, Route):
        return {"pool": choice.pool, "reason": choice.reason.value, "name": choice.model}
    fallbacks = [[route.pool, route.reason.value] for route in choice.fallbacks]
    return {"shed": choice.reason.value, "retry_after_ms": choice.retry_after_ms, "fallbacks": fallbacks}


def reading_of(row: list[Any]) -> Reading:
    """From ``[result, blame, elsewhere, again, topic]``."""
    result, blame, elsewhere, again, topic = row
    return Reading(
        ResultClass(result),
        Blame(blame),
        elsewhere=elsewhere,
        again=again,
        topic=Topic(topic) if topic else None,
    )


def row_of(reading: Reading) -> list[Any]:
    """The reverse of ``reading_of``."""
    topic = reading.topic.value if reading.topic else None
    return [reading.result.value, reading.blame.value, reading.elsewhere, reading.again, topic]
