"""Explain, replay, what-if and spend as an operator types them, over what a real controller has decided."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.core.model.reasons import State
from controller.policy_file import load_policy
from tests.integration.controllers import FORCED, POLICY, Fleet, newest, settings_of, tieline
from tests.waiting import until
from tieline.events import Capacity, Demand, Flow, Outcomes, PoolCapacity, PoolObservation
from tieline.producer import Producer

HELD_DOWN = "\nthresholds: {hold_down_min_ms: 600000, hold_down_max_ms: 600000}\n"
SICK = "coreweave/us-east-04/gpt-oss"


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A pool that is down stays so for as long as a test takes, on however slow a machine."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.read_text() + HELD_DOWN)
    settings = dataclasses.replace(settings_of(kafka_bootstrap, redis_url, prefix), policy=policy)
    async with Fleet(settings, tmp_path) as running:
        yield running


@pytest.fixture
async def decided(fleet: Fleet) -> Fleet:
    """A controller that saw capacity, demand, a pool fail for everybody, and a drain given and taken back."""
    controller = await fleet.add()
    await controller.until_said("decides now")
    async with Producer(fleet.settings.kafka, prefix=fleet.settings.namespace) as producer:
        for sequence in range(4):
            await _state_capacity(producer, sequence)
            for client in range(4):
                await producer.send(_demand(client, sequence, failing=sequence > 1))
        await until(lambda: _is_down(fleet), what=f"{SICK} is down")
    for verb, more in (("drain", (*FORCED, "--for", "1h", "--actor", "kim")), ("undrain", ())):
        given = await tieline(fleet.settings, verb, "azure/swedencentral", "--reason", "repair", *more)
        assert given.status == 0, given.err
    return fleet


async def _state_capacity(producer: Producer, sequence: int) -> None:
    now = time.time_ns() // 1_000_000
    regions: dict[tuple[str, str], list[PoolCapacity]] = {}
    for pool in load_policy(POLICY).pools:
        stated = PoolCapacity(pool.id, pool.limit_units_per_s)
        regions.setdefault((pool.provider, pool.region), []).append(stated)
    for (provider, region), pools in regions.items():
        await producer.send(
            Capacity("fleet", provider, region, "run", sequence, now, now + 600_000, tuple(pools))
        )


def _demand(client: int, sequence: int, *, failing: bool) -> Demand:
    """40 requests of chat/us at one pool in one second, from one of four clients."""
    end = time.time_ns() // 1_000_000
    outcomes = Outcomes(server_error=40) if failing else Outcomes(ok=40)
    return Demand(
        f"client-{client}",
        "run",
        sequence,
        end - 1_000,
        end,
        1_000,
        flows=(Flow("chat", "us", 40, 2_500.0), Flow("batch", "eu", 10, 400.0)),
        pools=(PoolObservation(SICK, outcomes, 2_500.0),),
    )


async def _read(fleet: Fleet, *arguments: str) -> Any:
    ended = await tieline(fleet.settings, *arguments, "--json")
    assert ended.status == 0, ended.err
    return json.loads(ended.out)


async def _commands_seen(fleet: Fleet) -> int:
    """What a command would raise."""
    return (await newest(fleet)).commands_next_offset


async def _is_down(fleet: Fleet) -> bool:
    async with fleet.routes() as routes:
        record = routes.newest()
    return bool(record and record.memory and record.memory.pools[SICK].state is State.DOWN)


async def test_recorded_decisions_come_out_the_same_in_any_process(decided: Fleet) -> None:
    """Every decision on record, the first table included, is decided again to the same bytes, whatever the
    seed of Python's hashes."""
    counts = set()
    until_now = str(time.time_ns() // 1_000_000)
    span = ("--from", "-1h", "--to", until_now)
    for seed in ("0", "1", "4711"):
        ended = await tieline(decided.settings, "replay", *span, "--json", PYTHONHASHSEED=seed)
        assert ended.status == 0, ended.out + ended.err
        found = json.loads(ended.out)
        assert found["decisions"] == found["same"] >= 4
        assert found["first"].endswith(":0:1")
        assert "gaps" not in found
        counts.add(found["same"])
    assert len(counts) == 1
    shown = await tieline(decided.settings, "replay")
    assert "all the same, byte for byte" in shown.out


async def test_other_policy_is_compared_with_what_was_done(decided: Fleet, tmp_path: Path) -> None:
    """The same policy comes to the same; one that plans with half of each limit sheds more."""
    same = await _read(decided, "replay", "--from", "-1h", "--policy", str(POLICY))
    totals = same["comparison"]
    assert totals["recorded"]["offered"] == totals["other"]["offered"] > 0
    other = tmp_path / "other.yaml"
    other.write_text(POLICY.read_text().replace("headroom: 0.8", "headroom: 0.1"))
    found = (await _read(decided, "replay", "--from", "-1h", "--policy", str(other)))["comparison"]
    recorded, tight = found["recorded"], found["other"]
    assert sum(tight["shed"].values()) > sum(recorded["shed"].values())
    assert tight["broken"] == recorded["broken"] == 0
    assert found["routes"]
    shown = await tieline(decided.settings, "replay", "--policy", str(other), COLUMNS="160")
    assert shown.status == 0, shown.err
    assert "routes that end differently" in shown.out


async def test_explain_names_the_chain_and_why_nothing(decided: Fleet) -> None:
    """The pool that failed is down, since and until when; routes say which rule keeps a pool out."""
    pool = (await _read(decided, "explain", SICK))["pool"]
    assert pool["state"]["after"] == "down"
    assert pool["state"]["until_ms"] > pool["state"]["since_ms"] > 0
    assert pool["capacity"]["reason"] == "capacity_stated"
    route = (await _read(decided, "explain", "api/eu"))["route"]
    reasons = {name: one["verdict"]["reason"] for name, one in route["nothing"].items()}
    assert reasons["gcp/europe-west4/gemini-pro"] == "exclusive_elsewhere"
    assert reasons["azure/eastus2/gpt-4o"] == "residency_of_origin"
    assert abs(sum(route["weights"].values()) + route["shed"] - 1) < 1e-9
    shown = await tieline(decided.settings, "explain", "chat/us", COLUMNS="160")
    assert shown.status == 0, shown.err
    assert "UNSIGNED DEV MODE" in shown.out
    assert "down: clients" in shown.out


async def test_whatif_answers_from_the_live_tables_and_from_a_file(decided: Fleet, tmp_path: Path) -> None:
    """A loss is weighed without a change; the saved moment gives the same answer without any server."""
    before = await _commands_seen(decided)
    saved = tmp_path / "moment"
    asked = ("whatif", "--lose", "azure", "--lose", "gcp-service-control", "--growth", "20%")
    live = await _read(decided, *asked, "--save", str(saved))
    filed = await tieline(
        decided.settings, *asked, "--at", str(saved), "--json", TIELINE_KAFKA="", TIELINE_REDIS=""
    )
    assert filed.status == 0, filed.err
    assert json.loads(filed.out) == live
    after = live["answers"][0]["after"]
    assert after["offered"] == pytest.approx(after["served"] + after["shed"] + after["failed"])
    assert after["offered"] == pytest.approx(live["answers"][0]["before"]["offered"] * 1.2)
    assert after["broken"] == []
    assert after["shed_by_criticality"]["critical"] > 0  # api goes through azure only
    every = await _read(decided, "whatif", "--n-1")
    assert {"provider azure", "region gcp/europe-west4", "domain azure-front-door"} <= set(every["names"])
    assert all(not answer["after"]["broken"] for answer in every["answers"])
    assert await _commands_seen(decided) == before
    for words in (("--n-1",), ("--lose", "azure")):
        shown = await tieline(decided.settings, "whatif", *words, COLUMNS="160")
        assert shown.status == 0, shown.err
        assert "nothing was changed" in shown.out


async def test_spend_meters_what_was_decided(decided: Fleet) -> None:
    """The commitment of the policy, what was used while metered, and what would be left."""
    found = await _read(decided, "spend", "--from", "-1h")
    (row,) = found["commitments"]
    assert (row["provider"], row["kind"]) == ("coreweave", "units")
    assert row["used"] == found["used"]["coreweave"]["units"] > 0
    assert row["shortfall"] == max(0, row["committed"] - row["projected"])


async def test_spend_is_kept_by_day(decided: Fleet) -> None:
    """Without a range: the totals that the leader keeps, which grow as load goes on."""

    async def by_day() -> dict[str, Any] | None:
        found = await _read(decided, "spend")
        return None if found["rates"] else found

    found = await until(by_day, 30, "totals by day")
    (row,) = found["commitments"]
    assert row["used"] == found["used"]["coreweave"]["units"] > 0
    assert 0 < row["metered_ms"] <= 600_000


MISTAKES = (
    (("explain", "chat/eux"), "did you mean chat/eu?"),
    (("explain", "azure/swedencentrall/gpt-4o"), "did you mean azure/swedencentral/gpt-4o?"),
    (("whatif", "--lose", "azurre"), "did you mean azure?"),
    (("whatif", "--growth", "much"), "give a percentage"),
    (("whatif", "--growth", "-100%"), "give a percentage above -100%"),
    (("explain", "azure/swedencentral"), "azure/swedencentral is not one route or pool: give one of azure/"),
    (("explain", "chat"), "chat is not one route or pool: give one of chat/"),
    (("whatif", "--n-1", "--lose", "azure"), "leave --lose out"),
    (("whatif", "--at", "/nowhere"), "can't be read"),
    (("whatif", "--at", str(POLICY)), "is not a snapshot"),
    (("replay", "--from", "yesterday"), "RFC 3339"),
    (("replay", "--from", "now"), "does not lie before"),
    (("replay", "--from", "-2d", "--to", "-1d"), "nothing was decided between"),
    (("spend", "--from", "-2d", "--to", "-1d"), "nothing was decided"),
    (("replay", "--policy", "/nowhere.yaml"), "/nowhere.yaml"),
)


async def test_each_mistake_is_one_sentence(fleet: Fleet) -> None:
    """Status 2 and what to give instead, never a traceback."""
    before = await tieline(fleet.settings, "explain", "chat/eu")
    assert before.status == 2
    assert "Traceback" not in before.err
    controller = await fleet.add()
    await controller.until_said("decides now")
    at_a_time = asyncio.Semaphore(2)

    async def check(arguments: tuple[str, ...], expected: str) -> None:
        async with at_a_time:
            ended = await tieline(fleet.settings, *arguments)
        assert ended.status == 2, (arguments, ended.out, ended.err)
        assert expected in ended.err, (arguments, ended.err)
        assert "Traceback" not in ended.err

    await asyncio.gather(*(check(arguments, expected) for arguments, expected in MISTAKES))
