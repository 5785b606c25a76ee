"""What pools have refused lately: parameters for ten minutes, quotas until they serve again."""

import pytest

from tests.unit.client.exchanging import Bench, answers, header
from tests.unit.client.made_tables import MODEL, Time, part, router
from tieline._request.refusals import PARAMETER_MS, QUOTA_MS, Refusals, parameter_of
from tieline.events import ResultClass
from tieline.providers.answers import ProviderError

A, B = "a/r/x", "b/r/x"
UNSUPPORTED = b'{"error":{"code":"unsupported_parameter","param":"logit_bias.x","message":"no"}}'
QUOTA = b'{"error":{"code":"insufficient_quota","message":"no"}}'


@pytest.mark.parametrize(
    ("param", "message", "name"),
    [
        ("top_k", "", "top_k"),
        ("response_format.type", "", "response_format"),
        ("messages[0].role", "", "messages"),
        ("", "Unsupported parameter: 'max_tokens' is not supported with this model.", "max_tokens"),
        ("", "Unrecognized request argument supplied: x", ""),
    ],
)
def test_the_parameter_is_named_by_the_error_or_its_words(param: str, message: str, name: str) -> None:
    """Only its top-level field counts, since that is what requests are told apart by."""
    assert parameter_of(ProviderError((), message, param)) == name


def test_a_refused_parameter_is_remembered_for_its_pool_and_model() -> None:
    """For ten minutes, and for no other model."""
    refusals = Refusals()
    refusals.refuse_parameter(A, MODEL, ProviderError(param="top_k"), 1_000)
    assert refusals.refusing(MODEL, {"top_k", "model"}, 2_000) == {A}
    assert refusals.refusing("other", {"top_k"}, 2_000) == set()
    assert refusals.refusing(MODEL, {"model"}, 2_000) == set()
    assert refusals.refusing(MODEL, {"top_k"}, 1_000 + PARAMETER_MS) == set()
    assert refusals.is_empty


def test_a_quota_is_the_accounts_when_it_is_said_again_and_again() -> None:
    """Three times over 10 s; a success or another code begins anew, and a burst says it only once."""
    refusals = Refusals()
    assert not any(refusals.refuse_quota(A, "x", now_ms) for now_ms in (0, 1, 2, QUOTA_MS - 1))
    assert refusals.refuse_quota(A, "x", QUOTA_MS)
    refusals.succeed(A)
    assert not refusals.refuse_quota(A, "x", QUOTA_MS + 1)
    assert not refusals.refuse_quota(A, "y", 3 * QUOTA_MS)


def bench(a: bytes, status: int) -> Bench:
    """Pool ``a`` has nearly all weight and always gives this error; ``b`` serves."""
    time = Time()
    weights = {A: 999_999, B: 1}
    return Bench(router(part(weights), time), time, a=answers(status, a), b=answers())


def test_requests_with_a_refused_parameter_go_elsewhere_at_once() -> None:
    """The first is refused and fails over, the others are not sent there; requests without it are, and so
    is one that has nowhere else to go."""
    tried = bench(UNSUPPORTED, 400)
    for attempts in ("2", "1", "1"):
        reply = tried.ask(logit_bias={"x": 1})
        assert (reply.status, header(reply, "x-tieline-pool")) == (200, B)
        assert header(reply, "x-tieline-attempts") == attempts
    tried.ask()
    assert tried.sent[-2][0] == A
    assert tried.router.outs() == {}
    tried.router.record(B, MODEL, ResultClass.AUTH)
    reply = tried.ask(logit_bias={"x": 1})
    assert (reply.status, reply.body) == (400, UNSUPPORTED)


def test_a_quota_code_that_goes_on_is_a_fault_of_the_account() -> None:
    """At first the pool is only at its limit; after 10 s of nothing else it is left as a refused credential
    would be."""
    tried = bench(QUOTA, 429)
    for _ in range(4):
        assert header(tried.ask(), "x-tieline-pool") == B
        tried.time.pass_ms(4_000)
        tried.router.tick(tried.time())
    assert tried.router.outs()[A].result is ResultClass.AUTH
