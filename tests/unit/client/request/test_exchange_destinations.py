"""A table that names another host for a pool gets no secret."""

from __future__ import annotations

import json

from tests.unit.client.exchanging import Bench, answers, header
from tests.unit.client.made_tables import Time, info, part, router
from tieline.table import PoolInfo

A, B = "a/r/x", "b/r/x"


def bench(first: PoolInfo) -> Bench:
    time = Time()
    infos = {A: first, B: info(B)}
    return Bench(router(part({A: 900_000, B: 100_000}, infos=infos), time), time, a=answers(), b=answers())


def with_url(url: str) -> PoolInfo:
    return PoolInfo(A, "eu", url, adapter="azure", credential="known", models=info(A).models)


def test_no_secret_over_plain_http_nor_to_a_foreign_host() -> None:
    """Nothing is sent there at all; the request goes to another pool, and the answer names the reason."""
    for url in ("http://contoso.openai.azure.com/openai/v1", "https://evil.example.com/openai/v1"):
        asked = bench(with_url(url))
        replies = [asked.ask() for _ in range(4)]
        assert {header(reply, "x-tieline-pool") for reply in replies} == {B}
        assert {pool for pool, _ in asked.sent} == {B}


def test_the_reason_is_told_when_nothing_else_is_left() -> None:
    """With the name of the credential and the host, and never the secret."""
    time = Time()
    pools = {A: with_url("https://evil.example.com/openai/v1")}
    asked = Bench(router(part({A: 1_000_000}, infos=pools), time), time, a=answers())
    text = json.loads(asked.ask().body)["error"]["message"]
    assert "credential 'known' is not for the host evil.example.com" in text
    assert "secret" not in text
    assert not asked.sent
