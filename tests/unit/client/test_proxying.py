"""How a proxy is told to divide requests, and how its outcomes count as the client's own."""

import pytest

import tieline
from tests.unit.client.made_tables import MODEL, Time, generation, info, part, router
from tieline import Outcome, Reason, ResultClass
from tieline._routing.router import Router
from tieline.proxying import STRAIGHT_FAILURES, Proxied, Shares
from tieline.table import MILLION

A, B, C = "azure/uksouth/gpt", "gcp/europe/gemini", "oci/london/oss"


def weights(shares: Shares) -> dict[str, int]:
    """Pool -> weight."""
    return {share.info.pool: share.weight for share in shares.pools}


def fail(routing: Router, pool: str, result: ResultClass = ResultClass.SERVER_ERROR) -> None:
    """As many failures as it takes to leave a pool."""
    for _ in range(STRAIGHT_FAILURES):
        assert routing.hear(pool, Outcome(result), model=MODEL, origin="eu")


def test_the_shares_are_the_tables_weights() -> None:
    """Together with what the route allows besides, and the share to shed with its words."""
    in_force = part({A: 600_000, B: 150_000}, shed=250_000, on_loss={"azure": {C: MILLION}}, last_resort=[B])
    shares = router(in_force, Time()).shares(MODEL, "eu")
    assert weights(shares) == {A: 600_000, B: 150_000}
    assert [share.info.pool for share in shares.fallbacks] == [C]
    assert shares.shed_ppm == 250_000
    assert shares.shed is not None
    assert (shares.shed.reason, shares.shed.text) == (Reason.SHED, "no capacity")
    assert [share.offer.name for share in shares.pools if share.offer] == ["big", "big"]


def test_shares_that_stay_the_same_are_the_same_object() -> None:
    """So that a proxy of many routes can ask often; a failure that ejects a pool makes others."""
    routing = router(part({A: 600_000, B: 400_000}), Time())
    before = routing.shares(MODEL, "eu")
    assert routing.hear(A, Outcome(ResultClass.OK), model=MODEL, origin="eu")
    assert routing.shares(MODEL, "eu") is before
    fail(routing, A)
    assert routing.shares(MODEL, "eu") is not before


def test_a_request_without_a_model_may_go_to_every_pool() -> None:
    """Also to those that offer no model."""
    in_force = part({A: 500_000, B: 500_000}, infos={B: info(B, models=())})
    routing = router(in_force, Time())
    assert weights(routing.shares("", "eu")) == {A: 500_000, B: 500_000}
    assert weights(routing.shares(MODEL, "eu")) == {A: 500_000}
    assert all(share.offer is None for share in routing.shares("", "eu").pools)


def test_what_nobody_serves_is_turned_away_and_says_why() -> None:
    """Whether it is the model, the origin or the table that is missing."""
    routing = router(part({A: MILLION}), Time())
    for shares, reason in (
        (routing.shares("unknown", "eu"), Reason.NO_MODEL),
        (routing.shares(MODEL, "jp"), Reason.NO_ROUTE),
        (router(None, Time()).shares(MODEL, "eu"), Reason.NO_TABLE),
    ):
        assert (shares.pools, shares.fallbacks, shares.shed_ppm) == ((), (), MILLION)
        assert shares.shed is not None
        assert shares.shed.reason is reason
    assert routing.take_counts() == {}


def test_a_pool_that_fails_is_left_and_comes_back_by_steps() -> None:
    """Its first request after the wait is a trial: a hundredth of the others' weight, then steps."""
    time = Time()
    routing = router(part({A: 600_000, B: 400_000}), time)
    fail(routing, A)
    assert weights(routing.shares(MODEL, "eu")) == {B: 400_000}
    time.pass_ms(1_000)
    assert weights(routing.shares(MODEL, "eu")) == {B: 400_000, A: 4_000}
    assert routing.hear(A, Outcome(ResultClass.OK), model=MODEL, origin="eu")
    back = weights(routing.shares(MODEL, "eu"))
    assert back[A] / (back[A] + back[B]) < 0.2
    assert not routing.outs()


def test_a_trial_that_fails_doubles_the_wait() -> None:
    """Until then the pool gets nothing."""
    time = Time()
    routing = router(part({A: 600_000, B: 400_000}), time)
    fail(routing, A)
    time.pass_ms(1_000)
    assert routing.hear(A, Outcome(ResultClass.CONNECT), model=MODEL, origin="eu")
    time.pass_ms(1_500)
    assert A not in weights(routing.shares(MODEL, "eu"))
    time.pass_ms(500)
    assert A in weights(routing.shares(MODEL, "eu"))


def test_the_weights_for_a_loss_apply_when_most_of_a_provider_is_out() -> None:
    """As in the client itself."""
    in_force = part({A: 700_000, B: 300_000}, on_loss={"azure": {B: 200_000, C: 800_000}})
    routing = router(in_force, Time())
    fail(routing, A)
    assert weights(routing.shares(MODEL, "eu")) == {B: 200_000, C: 800_000}


def test_a_fallback_that_is_out_is_none() -> None:
    """Nor does it come back as one before its time."""
    routing = router(part({A: MILLION}, on_loss={"azure": {C: MILLION}}), Time())
    assert [share.info.pool for share in routing.shares(MODEL, "eu").fallbacks] == [C]
    assert routing.hear(C, Outcome(ResultClass.AUTH), model=MODEL, origin="eu")
    assert routing.shares(MODEL, "eu").fallbacks == ()


def test_what_is_allowed_is_used_when_every_pool_is_out() -> None:
    """And nothing is shed that the table does not shed."""
    in_force = part({A: MILLION}, last_resort=[C])
    routing = router(in_force, Time())
    assert routing.hear(A, Outcome(ResultClass.AUTH), model=MODEL, origin="eu")
    shares = routing.shares(MODEL, "eu")
    assert (weights(shares), shares.shed_ppm) == ({C: 1}, 0)


def test_a_table_that_sheds_everything_is_not_got_around() -> None:
    """Neither by a fallback nor by a last resort."""
    in_force = part({}, shed=MILLION, on_loss={"azure": {C: MILLION}}, last_resort=[B])
    shares = router(in_force, Time()).shares(MODEL, "eu")
    assert (shares.pools, shares.shed_ppm) == ((), MILLION)


@pytest.mark.parametrize(("pool", "model"), [(C, MODEL), (A, "unknown")])
def test_an_outcome_of_no_pool_of_the_table_is_told_to_nobody(pool: str, model: str) -> None:
    """A proxy may be behind the table, or a caller may make things up."""
    routing = router(part({A: MILLION}), Time())
    outcomes: list[object] = []
    routing.on_outcome.append(lambda _target, outcome: outcomes.append(outcome))
    assert not routing.hear(pool, Outcome(ResultClass.OK), model=model, origin="eu")
    assert outcomes == []


def test_what_the_proxy_saw_is_in_the_clients_report() -> None:
    """Load offered and shed, and outcomes by pool."""
    client = tieline.AsyncClient("redis://127.0.0.1:1", workload="chat", origin="eu")
    client.core.router.apply(generation(part({A: MILLION}), 1))
    proxied = Proxied(client)
    proxied.count("eu", requests=10, units=900.0, shed=2, shed_units=100.0)
    outcome = Outcome(ResultClass.OK, units=40.0, first_token_ms=12.0)
    assert proxied.report(A, outcome, model=MODEL, origin="eu")
    demand = client._reporter.take()
    (flow,) = demand.flows
    assert (flow.requests, flow.offered_units, flow.shed_requests, flow.shed_units) == (10, 900.0, 2, 100.0)
    (row,) = demand.pools
    assert (row.pool, row.outcomes.ok, row.units, row.first_token_p50_ms) == (A, 1, 40.0, 12.0)
    assert proxied.models("eu") == (MODEL,)
    assert [info.pool for info in proxied.pools("eu")] == [A]
    assert proxied.pools("jp") == ()
    assert proxied.generation == "test:1:1"
    assert weights(proxied.shares(MODEL, origin="eu")) == {A: MILLION}
    assert proxied.settings.attempts_max == 3


def test_what_a_loss_sheds_is_shed_but_for_a_trial() -> None:
    """A table that would shed everything without a provider is not got around by a last resort, nor by the
    pool that is tried again. What fails there goes on to the pool of the own split that is in."""
    time, still_in = Time(), "azure/northeurope/gpt"
    split = {A: 600_000, still_in: 400_000}
    routing = router(part(split, on_loss={"azure": {}}, last_resort=[B]), time)
    fail(routing, A, ResultClass.AUTH)
    shares = routing.shares(MODEL, "eu")
    assert (shares.pools, shares.fallbacks, shares.shed_ppm) == ((), (), MILLION)
    time.pass_ms(1_000)
    shares = routing.shares(MODEL, "eu")
    assert (list(weights(shares)), shares.shed_ppm) == ([A], 990_000)
    assert shares.shed is not None
    assert shares.shed.reason is Reason.SHED
    assert [share.info.pool for share in shares.fallbacks] == [still_in, B]


def test_what_a_loss_leaves_out_of_the_own_split_is_a_fallback() -> None:
    """It also serves when the pools for that loss are out."""
    still_in = "azure/northeurope/gpt"
    routing = router(part({A: 600_000, still_in: 400_000}, on_loss={"azure": {B: MILLION}}), Time())
    fail(routing, A, ResultClass.AUTH)
    shares = routing.shares(MODEL, "eu")
    assert weights(shares) == {B: MILLION}
    assert [share.info.pool for share in shares.fallbacks] == [still_in]
    fail(routing, B, ResultClass.AUTH)
    shares = routing.shares(MODEL, "eu")
    assert (weights(shares), shares.shed_ppm) == ({still_in: 400_000}, 0)
