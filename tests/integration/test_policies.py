"""The policy changes by a command while two controllers run, and no file takes a change back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from controller.core.policy.policy import decode_policy
from controller.policy_file import load_policy, parse_policy
from tests.integration.controllers import (
    POLICY,
    Ended,
    Fleet,
    leader_and_standby,
    newest,
    settings_of,
    tieline,
)
from tests.unit.controller.operating import KEYS, public_line

BY = ("--reason", "a test", "--actor", "kim")
MISMATCH = "its policy file is not the policy in force, which it follows"


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


def written(directory: Path, name: str, *changes: tuple[str, str]) -> str:
    """A copy of the example with these changes, as a file."""
    text = POLICY.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (directory / name).write_text(text)
    return str(directory / name)


async def policy(fleet: Fleet, *arguments: str, status: int = 0) -> Ended:
    """Runs `tieline policy`, which must end so."""
    ended = await tieline(fleet.settings, "policy", *arguments)
    assert ended.status == status, ended.out + ended.err
    return ended


async def test_a_policy_is_applied_followed_kept_and_taken_back(fleet: Fleet, tmp_path: Path) -> None:
    """`apply` needs no restart, and of two at once one wins. Both controllers follow. What loosens a contract
    needs its rule's name. A controller that starts with the old file follows the log and says so, also when
    it leads. `rollback` puts the first policy in force again, and `history` tells all of it."""
    leader, standby = await leader_and_standby(fleet)
    lower = written(tmp_path, "lower.yaml", ("headroom: 0.8", "headroom: 0.7"))
    lowest = written(tmp_path, "lowest.yaml", ("headroom: 0.8", "headroom: 0.6"))
    assert "headroom 0.8 -> 0.7" in (await policy(fleet, "diff", lower)).out
    assert (await newest(fleet)).policy_number == 0

    pair = await asyncio.gather(
        *(tieline(fleet.settings, "policy", "apply", file, *BY, "--yes") for file in (lower, lowest))
    )
    losers = [ended for ended in pair if ended.status == 1]  # none where one began after the other had ended
    assert all("the leader refused it: it follows policy 0" in loser.err for loser in losers)
    record = await newest(fleet)
    number = record.policy_number
    assert number + len(losers) == 2, [ended.err for ended in pair]
    winner = lower if decode_policy(record.policy) == load_policy(lower) else lowest
    assert decode_policy(record.policy) == load_policy(winner)
    said = await leader.until_said("policy in force", times=number)
    assert (said["number"], said["version"]) == (number, record.policy_version)
    await standby.until_said(MISMATCH)

    loose = written(tmp_path, "loose.yaml", ("exclusive_provider: azure", "# exclusive_provider: azure"))
    refused = await policy(fleet, "apply", loose, *BY, "--yes", status=1)
    assert "the policy binds this workload to another provider" in refused.err
    assert "--force contract_loosened" in refused.err

    assert await leader.stop() == 0
    await standby.until_said("decides now")
    late = await fleet.add()
    assert (await late.until_said(MISMATCH))["number"] == number
    await late.until_said("partitions_assigned")
    status = await tieline(fleet.settings, "status", COLUMNS="400")
    assert "its policy file" in status.out
    assert await standby.stop() == 0
    await late.until_said("decides now")
    after = await newest(fleet)
    assert after.generation.epoch > record.generation.epoch
    assert (after.policy_number, after.policy) == (number, record.policy)

    await policy(fleet, "rollback", "0", *BY, "--yes")
    back = await newest(fleet)
    assert back.policy_number == number + 1
    assert decode_policy(back.policy) == load_policy(POLICY)
    listed = json.loads((await policy(fleet, "history", "--json")).out)
    fates = sorted((row["number"], row["fate"]) for row in listed)
    refused_too = [(1, "refused")] * len(losers)
    replaced = [(earlier, "replaced") for earlier in range(number + 1)]
    assert fates == sorted([*replaced, *refused_too, (number + 1, "in force")])
    shown = (await policy(fleet, "show", str(number))).out
    assert parse_policy(shown) == load_policy(winner)
    settings = replace(fleet.settings, policy=Path(winner))
    assert (await tieline(settings, "policy", "apply", str(POLICY), *BY)).status == 0


def signed_policy_file(directory: Path) -> Path:
    """The example with kim and lee, who must both sign a change of the policy; their keys beside it."""
    operators = []
    for name in ("kim", "lee"):
        pem = KEYS[name].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / f"{name}.key").touch(mode=0o600)
        (directory / f"{name}.key").write_bytes(pem)
        operators.append(f"  - {{id: {name}, public_keys: [{public_line(name)}], may: ['*']}}\n")
    text = POLICY.read_text() + "operators:\n" + "".join(operators)
    file = directory / "signed.yaml"
    file.write_text(text + "approvals: [{orders: ['policy:*'], approvals: 2}]\n")
    return file


async def test_where_operators_sign_two_people_change_the_policy(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """An unsigned change is not sent, one person's waits, and the second signature puts it in force."""
    file = signed_policy_file(tmp_path)
    settings = replace(settings_of(kafka_bootstrap, redis_url, prefix), policy=file, unsigned=False)
    (tmp_path / "other.yaml").write_text(file.read_text().replace("headroom: 0.8", "headroom: 0.7"))
    apply = ("apply", str(tmp_path / "other.yaml"), "--reason", "a test", "--yes")
    async with Fleet(settings, tmp_path) as fleet:
        controller = await fleet.add()
        await controller.until_said("decides now")
        assert "every order must be signed" in (await policy(fleet, *apply, status=2)).err
        asked = await policy(fleet, *apply, "--key", str(tmp_path / "kim.key"), "--json", status=4)
        order_id = json.loads(asked.out)["id"]
        assert (await newest(fleet)).policy_number == 0
        status = await tieline(settings, "status", COLUMNS="200")
        assert f"tieline countersign {order_id}" in status.out
        agree = ("countersign", order_id, "--reason", "fine", "--key")
        own = await tieline(settings, *agree, str(tmp_path / "kim.key"))
        assert (own.status, "needs another person" in own.err) == (1, True), own.err
        agreed = await tieline(settings, *agree, str(tmp_path / "lee.key"))
        assert agreed.status == 0, agreed.err
        assert (await newest(fleet)).policy_number == 1
