"""What a signer of Oracle's requests covers, and what it says about a key that it can't use."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tieline.credentials import RequestToSign
from tieline.errors import ConfigurationError
from tieline.request_signing import OciSigner

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
LOCKED = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hush")).decode()


def headers(signer: OciSigner, request: RequestToSign) -> dict[str, str]:
    """What it adds."""
    return {name.decode(): value.decode() for name, value in signer.sign(request)}


def test_a_request_without_a_body_signs_three_lines() -> None:
    """GET and DELETE have no headers of a body to cover; the date is the wall clock's, in GMT."""
    signer = OciSigner("t/u/f", PEM, epoch_ms=lambda: 1_790_000_000_000)
    added = headers(signer, RequestToSign("GET", "/openai/v1/models?limit=1", "host"))
    assert added["date"] == "Mon, 21 Sep 2026 14:13:20 GMT"
    assert 'headers="date (request-target) host"' in added["authorization"]
    assert added.keys() == {"date", "authorization"}


def test_a_post_without_a_type_is_json() -> None:
    """Oracle requires a type with every body, also an empty one."""
    added = headers(OciSigner("t/u/f", PEM), RequestToSign("POST", "/x", "host"))
    assert added["content-type"] == "application/json"
    assert added["x-content-sha256"] == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_ocis_own_file_is_read(tmp_path: Path) -> None:
    """A profile has all that a signature needs, also the passphrase of its key."""
    (tmp_path / "key.pem").write_text(LOCKED)
    profile = f"[EU]\nuser=u\ntenancy=t\nfingerprint=f\nkey_file={tmp_path / 'key.pem'}\npass_phrase=hush\n"
    (tmp_path / "config").write_text(profile)
    signer = OciSigner.from_file(tmp_path / "config", "EU")
    assert 'keyId="t/u/f"' in headers(signer, RequestToSign("GET", "/", "host"))["authorization"]
    (tmp_path / "config").write_text(profile.replace("fingerprint=f\n", ""))
    with pytest.raises(ConfigurationError, match="profile EU: fingerprint is missing"):
        OciSigner.from_file(tmp_path / "config", "EU")
    with pytest.raises(ConfigurationError, match="profile UK: NoSectionError"):
        OciSigner.from_file(tmp_path / "config", "UK")


def test_a_key_that_cannot_sign_is_refused_at_once() -> None:
    """The error says what was expected and repeats nothing of the key."""
    elliptic = ec.generate_private_key(ec.SECP256R1())
    wrong = elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(ConfigurationError, match="private_key is not an RSA key"):
        OciSigner("t/u/f", wrong)
    with pytest.raises(ConfigurationError, match="expected an RSA key as PEM, and its passphrase") as caught:
        OciSigner("t/u/f", LOCKED)
    assert "PRIVATE" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"none\.pem: FileNotFoundError"):
        OciSigner("t/u/f", Path("none.pem"))
    with pytest.raises(ConfigurationError, match="key_id=''"):
        OciSigner("", PEM)
    assert "PRIVATE" not in repr(OciSigner("t/u/f", PEM))
