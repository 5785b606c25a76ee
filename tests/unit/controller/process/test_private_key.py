"""Private keys: only from files that nobody else can read, and never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from controller.process.errors import UserError
from controller.process.private_key import read_private_key, write_new_private_key


def test_a_new_key_is_its_owners_alone_and_can_be_read(tmp_path: Path) -> None:
    """Mode 600 whatever the umask; the key that was written is the key that is read, also through a link."""
    path = tmp_path / "kim.key"
    key = write_new_private_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    link = tmp_path / "link"
    link.symlink_to(path)
    for place in (path, link):
        assert read_private_key(place).private_bytes_raw() == key.private_bytes_raw()


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """The file that is there stays."""
    path = tmp_path / "kim.key"
    path.write_text("something")
    with pytest.raises(UserError, match="exists already"):
        write_new_private_key(path)
    assert path.read_text() == "something"
    with pytest.raises(UserError, match="can't be written"):
        write_new_private_key(tmp_path / "nowhere" / "kim.key")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620])
def test_a_key_that_others_can_get_at_is_refused(tmp_path: Path, mode: int) -> None:
    """With the command that mends it."""
    path = tmp_path / "kim.key"
    write_new_private_key(path)
    path.chmod(mode)
    with pytest.raises(UserError, match=f"mode {mode:o}.*chmod 600"):
        read_private_key(path)


def test_what_is_no_key_is_not_repeated(tmp_path: Path) -> None:
    """Another kind of key, or any text: the error names the file, and nothing of what is in it."""
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for data in (b"my-secret", other):
        path = tmp_path / "key"
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(UserError, match="not an unencrypted Ed25519") as error:
            read_private_key(path)
        assert "secret" not in str(error.value)
        assert data.decode()[40:60] not in str(error.value) or data == b"my-secret"
    with pytest.raises(UserError, match="can't be read"):
        read_private_key(tmp_path / "nowhere")
