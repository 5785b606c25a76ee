"""Who may be able to read the file of a private key: one rule for all of them."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tieline.errors import ConfigurationError
from tieline.private_files import is_private, read_private_file
from tieline.signatures import private_key

KIM, ROOT = 1000, 0


@pytest.mark.parametrize(
    ("mode", "owner", "private"),
    [
        (0o600, KIM, True),
        (0o400, KIM, True),
        (0o700, KIM, True),
        (0o640, KIM, False),
        (0o440, KIM, False),
        (0o604, KIM, False),
        (0o600, ROOT, True),
        (0o440, ROOT, True),
        (0o640, ROOT, True),
        (0o660, ROOT, False),
        (0o644, ROOT, False),
        (0o444, ROOT, False),
    ],
)
def test_only_the_owner_or_the_group_of_roots_file_may_read_a_key(
    mode: int, owner: int, private: bool
) -> None:
    """Kubernetes and systemd hand a secret over as a file of root's that a group may read."""
    assert is_private(mode, owner) == private


def test_a_key_that_others_can_read_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    """Also by a producer that signs; nothing of the key is repeated."""
    path = tmp_path / "source.key"
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o604)
    with pytest.raises(
        ConfigurationError, match=rf"^signing_key: .*mode 604.*`chmod 600 {path}`$"
    ) as refused:
        private_key(path, "signing_key")
    assert path.read_text().splitlines()[1] not in str(refused.value)
    path.chmod(0o600)
    assert private_key(path, "signing_key").private_bytes_raw() == key.private_bytes_raw()


def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(ConfigurationError, match="nowhere can't be read: No such file"):
        read_private_file(tmp_path / "nowhere")
