"""What a caller is told of its own mistake: where it is, and what to do."""

import json

import pytest

from tests.unit.client.exchanging import Bench, answers, header
from tests.unit.client.made_tables import Time, info, part, router
from tieline._request.reply import Reply
from tieline._routing.route import Reason, Shed

A, B = "a/r/x", "b/r/x"


def bench(**credentials: str) -> Bench:
    """Two pools that serve; each may need the secret of this name."""
    time = Time()
    infos = {pool: info(pool, credential=credentials.get(pool[0], "")) for pool in (A, B)}
    return Bench(router(part({A: 500_000, B: 500_000}, infos=infos), time), time, a=answers(), b=answers())


def said(reply: Reply) -> str:
    """What the SDK shows as the error's message."""
    text: str = json.loads(reply.body)["error"]["message"]
    return text


@pytest.mark.parametrize("wrong", ["20s", "0", "-1", "nan", "inf", "86400", ""])
def test_a_deadline_that_is_none_is_refused(wrong: str) -> None:
    """The answer is a 400 that names the header, and nothing is sent: the mistake is not passed over."""
    asked = bench()
    reply = asked.ask(headers={"x-tieline-deadline": wrong})
    assert (reply.status, header(reply, "x-tieline-reason")) == (400, Reason.BAD_OPTION)
    assert json.loads(reply.body)["error"]["type"] == "invalid_request_error"
    assert said(reply).startswith(f"header x-tieline-deadline: {wrong!r}: expected seconds")
    assert not asked.sent
    assert asked.ask(headers={"x-tieline-deadline": "20.5"}).status == 200


@pytest.mark.parametrize("wrong", ["1", "yes", "True", ""])
def test_an_unbind_that_is_neither_true_nor_false_is_refused(wrong: str) -> None:
    """As a deadline that is none."""
    asked = bench()
    reply = asked.ask(headers={"x-tieline-unbind": wrong})
    assert (reply.status, asked.sent) == (400, [])
    assert said(reply) == f"header x-tieline-unbind: {wrong!r}: expected true or false"
    assert asked.ask(headers={"x-tieline-unbind": "false"}).status == 200


def test_an_origin_that_the_client_does_not_follow_is_named() -> None:
    """The refusal says where to name the origin."""
    reply = bench().ask(headers={"x-tieline-origin": "jp"})
    assert (reply.status, header(reply, "x-tieline-reason")) == (503, "no_route")
    assert said(reply) == "this client follows no route chat/jp: name the origin in its `origins=`"


def test_an_unknown_model_is_told_which_there_are() -> None:
    """A provider's own name in place of the logical one is the usual mistake, so the refusal lists the
    logical ones."""
    reply = bench().ask(model="gpt-4o")
    assert said(reply) == "no pool of chat/eu serves gpt-4o; it has chat-large"


def test_a_missing_secret_is_named_with_its_variable() -> None:
    """The request that met it says so; a pool whose secret is there serves meanwhile."""
    asked = bench(a="azure-eu", b="gcp")
    reply = asked.ask()
    assert (reply.status, asked.sent) == (503, [])
    for name, variable in (("azure-eu", "AZURE_EU"), ("gcp", "GCP")):
        assert f"auth, credential {name!r} is missing: pass it or set TIELINE_CREDENTIAL_{variable}" in said(
            reply
        )
    asked = bench(a="azure-eu", b="known")
    assert {header(asked.ask(), "x-tieline-pool") for _ in range(4)} == {B}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "auth, the credential 'known' was refused"),
        (402, "auth, the credential 'known' was refused"),
        (410, "not_found, the model 'big' is unknown there"),
    ],
)
def test_a_provider_that_refuses_is_told_with_what_it_refused(status: int, why: str) -> None:
    """The answer is the provider's own; a header of it names the credential or the model as the policy does,
    and nothing shows the secret. Later requests, which no pool is asked for, are told the class."""
    asked = bench(a="known", b="known")
    asked.pools = dict.fromkeys(asked.pools, answers(status, b"{}"))
    reply = asked.ask()
    assert (reply.status, reply.body) == (status, b"{}")
    tried = header(reply, "x-tieline-tried")
    assert tried is not None
    for pool in (A, B):
        assert f"{pool}: {why}" in tried
    assert "secret" not in tried
    later = asked.ask()
    assert later.status == 503
    assert f"{A}: {why.split(',')[0]}" in said(later)


def test_without_a_table_the_refusal_says_why_there_is_none() -> None:
    """It says that the client was never started, and afterwards what went wrong at the source."""
    routes = router(None, Time())
    before = routes.pick("chat-large")
    assert isinstance(before, Shed)
    assert "the client is not running: use `async with`" in before.text
    routes.why_no_table = "routes.bin: no such file"
    after = routes.pick("chat-large")
    assert isinstance(after, Shed)
    assert after.text.endswith("and there is no last good one: routes.bin: no such file")
