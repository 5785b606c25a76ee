"""How a controller signs what it writes, and what it demands of what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from controller.process.errors import SettingError, UserError
from controller.process.private_key import write_new_private_key
from controller.process.seal import NO_SEAL, UNCHECKED_RECORDS, UNSIGNED_TABLES, Seal, controller_seal
from controller.process.seal import read_accepted as accepted_in
from tieline.signatures import LEADER_KIND, ROUTES_KIND

TOPIC = "tieline.routes"
PLAIN = [("ce_source", b"/tieline/one"), ("ce_id", b"l:4:7")]


class Read(NamedTuple):
    """What a reader needs of a record."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Files(NamedTuple):
    """A new private key, and a file with its public key."""

    private: Path
    public: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    private = write_new_private_key(tmp_path / "controller.key")
    public = tmp_path / "controllers.pub"
    public.write_text(pem(private))
    return Files(tmp_path / "controller.key", public)


def pem(private: Ed25519PrivateKey) -> str:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def record(seal: Seal, value: bytes = b"body") -> Read:
    """As this process writes it."""
    return Read(b"4", value, seal.sealed(ROUTES_KIND, TOPIC, b"4", value=value, headers=PLAIN))


def test_without_keys_nothing_is_signed_and_everything_is_taken() -> None:
    """The headers stay as they are, and a notice says how the installation stands."""
    plain = record(NO_SEAL)
    assert plain.headers == PLAIN
    assert NO_SEAL.flaw(ROUTES_KIND, TOPIC, plain) == ""
    assert NO_SEAL.manifest_signature("tieline", b"manifest") == ""
    assert NO_SEAL.notice == UNSIGNED_TABLES


def test_with_keys_only_what_they_signed_is_believed(files: Files) -> None:
    """A record without a signature, with a changed body or from another log has a flaw, in words."""
    seal = controller_seal(files.private, files.public)
    own = record(seal)
    assert seal.flaw(ROUTES_KIND, TOPIC, own) == seal.notice == ""
    assert seal.flaw(ROUTES_KIND, TOPIC, record(NO_SEAL)) == "it is not signed"
    changed = own._replace(value=b"forged")
    assert "not what was signed" in seal.flaw(ROUTES_KIND, TOPIC, changed)
    assert "not what was signed" in seal.flaw(LEADER_KIND, TOPIC, own)


def test_signing_comes_before_checking(files: Files) -> None:
    """A controller with a private key alone signs and takes everything, and says so."""
    seal = controller_seal(files.private, None)
    assert seal.flaw(ROUTES_KIND, TOPIC, record(NO_SEAL)) == ""
    assert seal.notice == UNCHECKED_RECORDS


def test_a_controller_that_would_not_believe_itself_does_not_start(files: Files, tmp_path: Path) -> None:
    """It must have a key to check with, and its own public key must be among those that are accepted."""
    with pytest.raises(UserError, match="must sign itself"):
        controller_seal(None, files.public)
    write_new_private_key(tmp_path / "other.key")
    with pytest.raises(UserError, match="so no controller would believe this one"):
        controller_seal(tmp_path / "other.key", files.public)


def test_a_file_without_public_keys_is_refused(tmp_path: Path) -> None:
    """The error names the variable and the file, and nothing of what is in it."""
    (tmp_path / "empty").write_text("secret")
    with pytest.raises(SettingError, match=r"TIELINE_CONTROLLER_KEYS_FILE: .*empty: expected") as refused:
        accepted_in(tmp_path / "empty")
    assert "secret" not in str(refused.value)
    with pytest.raises(SettingError, match=r"^TIELINE_CONTROLLER_KEYS_FILE: [^:]*absent can't be read"):
        accepted_in(tmp_path / "absent")
    assert accepted_in(None) == {}


def test_the_key_shows_in_no_repr(files: Files) -> None:
    """Whoever logs a seal logs no key."""
    assert "private" not in repr(controller_seal(files.private, files.public))
