"""What is checked of the requests of a simulated client: where they go, how often, and that none is lost."""

from lab.sim.contracts import RouteContract
from lab.system.request_rules import (
    BUDGET,
    HELD_REQUESTS,
    LAWFUL_REQUESTS,
    NONE_LOST,
    RequestWatch,
)
from lab.system.requests import Ending
from tests.unit.lab.sim.facts import A, B, contracts
from tieline.table import MILLION

FOREIGN = "oci/eu/c"
HALVES = {A: MILLION // 2, B: MILLION // 2}


class Scene:
    """A watch, the time, and the pools that were ever ill."""

    def __init__(self, *ill: str, split: dict[str, int] | None = None) -> None:
        self.now_s = 0.0
        self.number = 0
        self.watch = RequestWatch(
            "client-0",
            "chat",
            contracts(routes={"chat/eu": RouteContract(0, frozenset((A, B)), {})}),
            split_of=lambda generation, route: (split or HALVES) if generation and route == "chat/eu" else {},
            ill=set(ill),
            cut_off=set(),
            numbers={A: 0, B: 1, FOREIGN: 2},
            clock_s=lambda: self.now_s,
        )

    def ask(self, *attempts: tuple[str, str], holder: str = "", status: int = 200, **words: str) -> None:
        """One request: its attempts, each with its result, and how it ended."""
        self.number += 1
        request, watch = f"client-0-{self.number}", self.watch
        watch.begins(request, "eu", {"previous_response_id": holder} if holder else {})
        for pool, result in attempts:
            watch.leaves(request, pool)
            watch.ended(request, pool, result)  # type: ignore[arg-type]
        watch.finished(
            Ending(
                request,
                status,
                words.get("reason", ""),
                gave_up=words.get("gave_up", ""),
                story="",
                began_s=self.now_s,
                ended_s=self.now_s,
                generations=("main:1:1", "main:1:1"),
            )
        )

    def broken(self) -> list[str]:
        """The rules that were broken."""
        return [rule for _, rule, _ in self.watch.breaches]


def test_an_attempt_at_a_pool_outside_of_the_contracts_is_noticed() -> None:
    """Whatever the table in force says."""
    scene = Scene()
    scene.ask((A, "ok"))
    assert scene.broken() == []
    scene.ask((FOREIGN, "ok"))
    assert scene.broken() == [LAWFUL_REQUESTS]


def test_what_a_pool_holds_is_asked_of_its_endpoint() -> None:
    """The name of an answer says which endpoint holds it."""
    scene = Scene()
    scene.ask((B, "ok"), holder="resp_1_7")
    assert scene.broken() == []
    scene.ask((A, "ok"), holder="resp_1_7")
    assert scene.broken() == [HELD_REQUESTS]


def test_only_what_leaves_a_pool_that_still_succeeds_costs_a_token() -> None:
    """One that never succeeded, or answers 429, or hangs, may be left as often as there are requests."""
    scene = Scene(A)
    for result in ("failed", "throttled", "hung"):
        for _ in range(100):
            scene.ask((A, result), (B, "ok"))
    assert scene.broken() == []
    for _ in range(100):
        scene.ask((A, "ok"))
        scene.ask((A, "failed"), (B, "ok"))
    assert scene.broken() == [BUDGET]


def test_tokens_come_back_with_time() -> None:
    """Three in a second, however long it goes on."""
    scene = Scene(A)
    for second in range(60):
        scene.now_s = second
        for _ in range(3):
            scene.ask((A, "ok"))
            scene.ask((A, "failed"), (B, "ok"))
    assert scene.broken() == []


def test_a_request_is_lost_beside_a_pool_that_was_never_ill() -> None:
    """Unless the table sheds it, or every pool of its route was ill."""
    scene = Scene(A)
    scene.ask(status=429, reason="shed")
    assert scene.broken() == []
    scene.ask((A, "failed"), status=503, reason="weighted")
    assert scene.broken() == [NONE_LOST]
    scene = Scene(A, B)
    scene.ask((A, "failed"), (B, "failed"), status=503, reason="failover")
    assert scene.broken() == []


def test_more_ill_pools_than_attempts_may_lose_a_request() -> None:
    """It has three attempts, and a pool is known to be ill only after some requests have failed there."""
    ill = tuple(f"azure/eu/{number}" for number in range(3))
    scene = Scene(*ill, split={**dict.fromkeys(ill, 300_000), B: 100_000})
    scene.ask(status=503, reason="no_pool")
    assert scene.broken() == []


def test_a_request_for_what_an_ill_pool_holds_may_be_lost() -> None:
    """No other pool has it."""
    scene = Scene(A)
    scene.ask((A, "failed"), holder="resp_0_1", status=503, reason="held")
    assert scene.broken() == []
    scene.ask((B, "failed"), holder="resp_1_1", status=503, reason="held")
    assert scene.broken() == [NONE_LOST]


def test_a_request_may_end_for_want_of_a_token_only_once_many_are_spent() -> None:
    """The budget bounds what recovery costs; it is no excuse while it is full."""
    scene = Scene(A)
    for _ in range(21):
        scene.ask((A, "ok"))
        scene.ask((A, "failed"), (B, "ok"))
    scene.ask((A, "failed"), status=503, gave_up="retry_budget")
    assert scene.broken() == []
    scene.now_s = 60.0
    scene.ask((A, "failed"), status=503, gave_up="retry_budget")
    assert scene.broken() == [NONE_LOST]


def test_an_ill_pool_may_take_all_of_the_callers_time() -> None:
    """A pool that answers slowly, and then with an error, leaves no time for another one."""
    scene = Scene(A)
    scene.ask((A, "failed"), status=401, gave_up="deadline")
    assert scene.broken() == []
    scene.ask((B, "failed"), status=401, gave_up="deadline")
    assert scene.broken() == [NONE_LOST]
