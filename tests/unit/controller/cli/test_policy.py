"""`tieline policy` where it needs no Kafka: files, what is typed, and the record that is sent."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from controller.cli import main
from controller.cli.agreement import Consent
from controller.cli.policy_apply import CHANGE_BYTES_MAX, ApplyChoices, policy_change
from controller.cli.signer import Signing
from controller.commands.policies import first_policy, new_policy
from controller.core.inspect.consequences import FORCE_RULES, Objection
from controller.policy_file import load_policy, parse_policy, policy_text
from controller.process.errors import UserError
from tests.places import EXAMPLE_POLICY
from tests.unit.controller.commands.changes import NOW_MS, POLICY, change
from tests.unit.controller.core.inspect.test_policy_consequences import NOTHING
from tieline.cloudevents import decode, encode

CHOICES = ApplyChoices(
    "a test", Signing(None, "kim"), consent=Consent(), dry_run=False, as_json=False, within_s=1
)


def test_a_good_file_passes_and_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a file; the status is 0."""
    assert main(["policy", "check", str(EXAMPLE_POLICY)]) == 0
    shown = capsys.readouterr().out
    assert f"no mistakes; lineage multicloud-1, {len(POLICY.pools)} pools, 3 workloads" in shown


def test_every_mistake_of_every_file_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With file, line and field; names that refer to nothing too; the status is 1, in JSON as well."""
    bad = tmp_path / "bad.yaml"
    text = EXAMPLE_POLICY.read_text().replace("headroom: 0.8", "headroom: 8")
    bad.write_text(text.replace("geography: jp", "geography: jpn", 1))
    arguments = ["policy", "check", str(bad), str(EXAMPLE_POLICY), str(tmp_path / "none.yaml")]
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert "headroom: expected `float` <= 1.0, got 8" in shown.err
    assert "pools[4].geography: unknown geography jpn; did you mean jp?" in shown.err
    assert f"{bad}: 2 mistakes" in shown.err
    assert "none.yaml: can't be read" in shown.err
    assert "no mistakes" in shown.out
    assert main([*arguments, "--json"]) == 1
    assert [len(row["mistakes"]) for row in json.loads(capsys.readouterr().out)] == [2, 0, 1]


def test_the_first_policy_passes_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`init` prints it, or writes it into a new file, and never over one that is there."""
    file = tmp_path / "policy.yaml"
    assert main(["policy", "init"]) == 0
    printed = capsys.readouterr().out
    assert main(["policy", "init", str(file)]) == 0
    assert file.read_text() == printed
    policy = load_policy(file)
    assert {provider.mode for provider in policy.providers} == {"observe"}
    assert len(printed.splitlines()) <= 25
    capsys.readouterr()
    assert main(["policy", "init", str(file)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "policy", [POLICY, replace(POLICY, headroom=0.5, first_refusal="gcp")], ids=("as is", "other")
)
def test_a_policy_as_text_is_read_as_the_same_policy(policy: object) -> None:
    """What `show` prints can be put into a file."""
    assert parse_policy(policy_text(policy)) == policy  # type: ignore[arg-type]


def test_the_record_brings_both_policies_and_the_rules_that_were_set_aside() -> None:
    """Only those that the policy breaks, whatever else was named."""
    before, after = first_policy(POLICY, unsigned=True), replace(POLICY, headroom=0.5)
    consent = Consent(forced=frozenset({"contract_loosened", "critical_shed"}))
    grave = replace(
        NOTHING, objections=(Objection("critical_shed", "it would shed"), Objection("last_pool", "none"))
    )
    change = policy_change(before, after, CHOICES._replace(consent=consent), grave, NOW_MS)
    assert (change.number, change.parent, change.forced) == (1, before.version, ("critical_shed",))
    assert new_policy(change) == after
    assert change.id != policy_change(before, after, CHOICES, None, NOW_MS).id


def test_a_policy_that_no_record_takes_is_refused_before_it_is_sent() -> None:
    """With the size, and what to do."""
    draw = random.Random(1)
    noise = tuple(
        replace(POLICY.sources[0], id=f"{draw.getrandbits(360):090x}") for _ in range(CHANGE_BYTES_MAX // 45)
    )
    with pytest.raises(UserError, match="bytes compressed, and one record takes 1,000,000"):
        policy_change(
            first_policy(POLICY, unsigned=True), replace(POLICY, sources=noise), CHOICES, None, NOW_MS
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["apply", "none.yaml", "--reason", "x"], "is no policy that controllers would take"),
        (["diff", str(EXAMPLE_POLICY), "--since", "soon"], "--since 'soon': give RFC 3339"),
        (["rollback", "1", "--reason", " "], "--reason must have 1 to 2,000 characters"),
        (["apply", str(EXAMPLE_POLICY), "--reason", "x", "--within", "long"], "--within 'long'"),
    ],
)
def test_mistakes_are_told_before_anything_is_reached(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka need not be there for that."""
    monkeypatch.setenv("TIELINE_KAFKA", "127.0.0.1:1")
    assert main(["policy", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_every_rule_can_be_named_as_set_aside() -> None:
    """A policy applied with ``--force`` is a record that everybody takes, whichever rules it names."""
    forced = replace(
        change(first_policy(POLICY, unsigned=True), headroom=0.7), forced=tuple(sorted(FORCE_RULES))
    )
    record = encode(forced, time_ms=NOW_MS)
    assert decode(record.headers, record.value) == forced
