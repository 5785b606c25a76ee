"""Operators' keys at the command line: made, listed, checked, and used to sign."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from controller.cli import main
from controller.cli.give_order import agreement, subject_of
from controller.cli.signer import Signing, signer_of, signing_of
from controller.commands.log import CommandLog
from controller.core.policy.operators import ApprovalRule
from controller.core.policy.policy import Policy, encode_policy
from controller.policy_file import load_policy
from controller.process.contexts import OPERATOR_KEY_FILE
from controller.process.errors import UserError
from controller.process.settings import UNSIGNED_NOTICE
from controller.routes.record import RoutesRecord
from tests.places import EXAMPLE_POLICY
from tests.unit.controller.operating import KEYS, NOW_MS, STRANGER, order, rules, signed, signed_policy
from tieline.table import Generation


def key_file(directory: Path, key: Ed25519PrivateKey) -> Path:
    """A file with this private key."""
    path = directory / "some.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


def published(policy: Policy, *, unsigned: bool = False) -> RoutesRecord:
    packed = encode_policy(policy)
    return RoutesRecord(Generation("multicloud-1", 0, 1), NOW_MS, policy=packed, unsigned_commands=unsigned)


@pytest.fixture
def policy_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A policy whose operators come from `keys new`: ann may do everything, bob may drain in azure."""
    text = EXAMPLE_POLICY.read_text() + "\noperators:\n"
    for name, rights in (("ann", '["*"]'), ("bob", '["drain:azure/*"]')):
        assert main(["keys", "new", "--id", name, "--out", str(tmp_path / f"{name}.key")]) == 0
        line = capsys.readouterr().out.splitlines()[-1]
        assert "PRIVATE" not in line
        text += line.replace('["*"]', rights) + "\n"
    text += 'approvals:\n  - {orders: ["drain:azure/*"]}\n'
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return path


def test_what_keys_new_prints_is_valid_in_a_policy(
    policy_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pasted into a policy it names the operator, and list shows it."""
    assert [operator.id for operator in load_policy(policy_file).operators] == ["ann", "bob"]
    assert main(["keys", "list", "--policy", str(policy_file), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["may"] for row in listed["operators"]] == [["*"], ["drain:azure/*"]]
    assert main(["keys", "list", "--policy", str(policy_file)]) == 0
    shown = capsys.readouterr().out
    assert "bob" in shown
    assert "2 people must sign drain:azure/*" in shown


@pytest.mark.parametrize(
    ("typed", "status", "answer"),
    [
        ("drain azure/eastus2", 0, "bob may give drain:azure/eastus2; 2 people must sign it"),
        ("drain azure", 1, "bob may not give drain:azure: the policy allows drain:azure/*"),
        ("policy *", 1, "bob may not give policy:*"),
        ("dran azure", 2, "there is no order 'dran'; did you mean drain?"),
    ],
)
def test_check_says_what_a_key_may_do(
    policy_file: Path, capsys: pytest.CaptureFixture[str], typed: str, status: int, answer: str
) -> None:
    """And how many people must sign; scripts read the status."""
    key = str(policy_file.parent / "bob.key")
    assert main(["keys", "check", *typed.split(), "--key", key, "--policy", str(policy_file)]) == status
    printed = capsys.readouterr()
    assert answer in printed.out + printed.err


def test_the_key_says_who_gives_an_order(tmp_path: Path) -> None:
    """Whatever the login is; what the policy doesn't allow is told before anything is sent."""
    path = key_file(tmp_path, KEYS["lee"])
    signer = signer_of(Signing(path), published(signed_policy()), "tieline")
    drain = signer.signed(order("drain", "azure/eastus2", "somebody"))
    assert (drain.actor, signer.notice) == ("lee", "")
    assert rules().refusal(drain, NOW_MS) == ""
    with pytest.raises(UserError, match="lee may not give freeze:azure"):
        signer.signed(order("freeze", "azure"))
    with pytest.raises(UserError, match=r"--actor kim: the key in .* is lee's"):
        signer_of(Signing(path, "kim"), published(signed_policy()), "tieline")


def test_without_a_key_that_counts_nothing_is_signed(tmp_path: Path) -> None:
    """No key, a key that nobody knows, and no operators: each with its remedy. In the development mode a key
    is not asked for, and every line says which mode that is."""
    with pytest.raises(UserError, match=f"give --key FILE, or set {OPERATOR_KEY_FILE}"):
        signer_of(Signing(), published(signed_policy()), "tieline")
    with pytest.raises(UserError, match="names no operator with the key in"):
        signer_of(Signing(key_file(tmp_path, STRANGER)), published(signed_policy()), "tieline")
    example = load_policy(EXAMPLE_POLICY)
    with pytest.raises(UserError, match="add `operators` to it"):
        signer_of(Signing(), published(example), "tieline")
    mode = signer_of(Signing(), published(example, unsigned=True), "tieline")
    assert mode.notice.startswith(UNSIGNED_NOTICE)
    assert mode.signed(order()) == order()


def test_the_key_file_is_typed_or_in_the_environment() -> None:
    """What is typed wins."""
    typed, bare = (argparse.Namespace(key=path, actor=None) for path in (Path("a"), None))
    assert signing_of(typed, {OPERATOR_KEY_FILE: "b"}).key_file == Path("a")
    assert signing_of(bare, {OPERATOR_KEY_FILE: "b"}).key_file == Path("b")
    assert signing_of(bare, {OPERATOR_KEY_FILE: " "}).key_file is None


def test_an_agreement_is_to_the_order_that_waits() -> None:
    """It names that order, and what would change is asked of that order."""
    drain = signed(order())
    by = rules(ApprovalRule(("drain:*",)))
    log = CommandLog().apply(0, NOW_MS, drain, rules=by)
    command = agreement(log.pending[0], "agreed", "lee", NOW_MS)
    assert subject_of(command, log, NOW_MS) == drain
    assert log.apply(1, NOW_MS, signed(command), rules=by).orders[0].id == drain.id
    with pytest.raises(UserError, match="no order a waits"):
        subject_of(command, CommandLog(), NOW_MS)
    assert subject_of(drain, log, NOW_MS) is drain
