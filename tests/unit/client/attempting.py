"""The machine of one request, as its tests drive it."""

from tests.unit.client.made_tables import MODEL
from tieline._request.retry_rule import Action, Attempts, Send, Wish
from tieline._routing.budget import RetryBudget
from tieline._routing.router import Router

DEADLINE_MS = 1_020_000
AGAIN_MS = 500


def machine(routing: Router, budget: RetryBudget | None = None, *, bound: bool = False) -> Attempts:
    """The machine of a request that has 20 s."""
    wish = Wish(MODEL, DEADLINE_MS, bound=bound)
    return Attempts(
        wish, routing.choose, budget or RetryBudget(), pacing=routing, next_wait_ms=lambda: AGAIN_MS
    )


def no_pool(_pool: str) -> bool:
    """Says of every pool that it has had a success lately."""
    return False


def pool(action: Action) -> str:
    """The pool that the action sends to."""
    assert isinstance(action, Send)
    return action.route.pool
