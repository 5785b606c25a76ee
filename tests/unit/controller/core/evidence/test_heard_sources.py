"""Who can be heard at all, and what follows when too few can."""

import pytest
from msgspec.structs import replace

from controller.core.evidence.heard_sources import Hearing, unheard_share
from controller.core.model.reasons import Reason
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Source
from controller.policy_file import load_policy
from streams.rows import Position, Row
from tests.scenarios.world import World
from tests.unit.controller.core.made import NOW_MS, policy, pool
from tests.unit.controller.core.moves.test_eligible import SMALL
from tieline.events import Report

RULES = compile_policy(policy((pool("azure/r"), pool("gcp/r")), sources=(Source("prober", "probe"),)))
FRESH, SILENT, UNREAD, OWN = Hearing.FRESH, Hearing.SILENT, Hearing.UNREAD, Hearing.OWN_NETWORK


def row(provider: str) -> Row:
    """What a prober last said of a provider's only region."""
    event = Report("prober", provider, "r", "one", 1, NOW_MS - 2_000, NOW_MS, 2_000, ())
    return Row(event, Position("reports", 0, 1), NOW_MS, NOW_MS)


@pytest.mark.parametrize(
    ("heard", "share"),
    [
        ((FRESH, FRESH, FRESH, FRESH), 0.0),
        ((SILENT, SILENT, FRESH, FRESH), 0.0),
        ((SILENT, FRESH, SILENT, FRESH), 0.5),
        ((SILENT, SILENT, SILENT, SILENT), 1.0),
        ((UNREAD, UNREAD, UNREAD, UNREAD), 0.0),
        ((SILENT, OWN, UNREAD, FRESH), 0.0),
    ],
    ids=[
        "all heard",
        "one provider silent",
        "half silent over two",
        "all silent",
        "the controller lags",
        "others fail or wait",
    ],
)
def test_silence_counts_over_two_providers(heard: tuple[Hearing, ...], share: float) -> None:
    """What is silent in one provider only may well be that provider; what the controller has not read yet
    is not silent, and sources that the policy has dropped are not missed."""
    rows = (row("azure"), row("azure"), row("gcp"), row("gcp"))
    assert unheard_share(RULES, rows, list(heard)) == share
    gone = compile_policy(replace(RULES.policy, sources=()))
    assert unheard_share(gone, rows, list(heard)) == 0.0


def test_nothing_moves_by_choice_while_most_are_unheard() -> None:
    """Demand shrinks and much could move nearer, but no prober is heard: the table stays and says why."""
    made = World(load_policy(SMALL))
    made.decide()
    made.demand |= {("chat", "eu"): 600.0, ("batch", "eu"): 400.0}
    for _ in made.run(60_000):
        pass
    made.silent_sources |= {"prober", "prober-us"}
    for _ in made.run(40_000):
        pass
    assert made.table is not None
    before = made.publications
    made.demand |= {("chat", "eu"): 60.0}
    readies = list(made.run(30_000))
    assert made.publications == before
    assert Reason.SOURCES_UNHEARD in {verdict.reason for verdict in readies[-1].decisions}
