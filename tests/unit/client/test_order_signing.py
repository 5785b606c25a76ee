"""How orders are signed: what the bytes are, what a signature is valid for, and how keys are written."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct
from msgspec.structs import replace

from tieline.events import Command
from tieline.order_signing import (
    SignatureError,
    decode_public_key,
    encode_public_key,
    fingerprint,
    is_signed_by,
    key_name,
    key_of_signature,
    sign_order,
    signed_bytes,
)

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = PRIVATE.public_key().public_bytes_raw()
HERE = {"namespace": "tieline", "lineage": "one"}
NOW_MS = 1_800_000_000_000
DRAIN = Command(
    "c-1", "drain", "azure/eastus2", actor="kim", reason="Tür", issued_ms=NOW_MS, expires_ms=NOW_MS + 60_000
)


class OtherOrder(Struct, frozen=True, tag_field="type", tag="other.v1"):
    """Another kind of order that can be signed, with a field that a drain has as well."""

    id: str
    more: tuple[str, ...] = ()
    signature: str = ""


def test_the_signed_bytes_are_written_down() -> None:
    """Anybody can make them: prefix, installation, and the fields that are not at their default, by name."""
    assert signed_bytes(DRAIN, **HERE).decode() == (
        "tieline-order-1\ntieline\none\n"
        '{"actor":"kim","expires_ms":1800000060000,"id":"c-1","issued_ms":1800000000000,"reason":"Tür",'
        '"scope":"azure/eastus2","type":"command.v1","verb":"drain"}'
    )
    assert signed_bytes(OtherOrder("c-1"), **HERE).endswith(b'\n{"id":"c-1","type":"other.v1"}')


def test_a_signature_is_valid_for_one_order_of_one_installation() -> None:
    """Whatever field differs, and wherever else it is shown, it is not valid."""
    order = sign_order(DRAIN, PRIVATE, **HERE)
    assert is_signed_by(order, order.signature, PUBLIC, **HERE)
    changes = {
        "id": "c-2",
        "verb": "freeze",
        "scope": "azure",
        "actor": "lee",
        "reason": "Tur",
        "issued_ms": 1,
    }
    for name, value in (changes | {"expires_ms": None, "guard": "x", "state": "down"}).items():
        other = replace(order, **{name: value})
        assert not is_signed_by(other, order.signature, PUBLIC, **HERE), name
    for place in ({"namespace": "staging", "lineage": "one"}, {"namespace": "tieline", "lineage": "two"}):
        assert not is_signed_by(order, order.signature, PUBLIC, **place)
    other_key = Ed25519PrivateKey.from_private_bytes(b"o" * 32).public_key().public_bytes_raw()
    assert not is_signed_by(order, order.signature, other_key, **HERE)


@pytest.mark.parametrize(
    "signature", ["", "x", "ed25519:abc", "ed25519::AAAA", "rsa:abc:AAAA", "ed25519:abc:?", "ed25519:abc:"]
)
def test_what_is_no_signature_says_so(signature: str) -> None:
    """By an error of its own, and never as a signature that is valid."""
    with pytest.raises(SignatureError, match="ed25519:KEY:SIGNATURE"):
        key_of_signature(signature)
    assert not is_signed_by(DRAIN, signature, PUBLIC, **HERE)


def test_a_signature_of_the_wrong_length_is_not_valid() -> None:
    """Also where it is good base64."""
    assert not is_signed_by(DRAIN, f"ed25519:{key_name(PUBLIC)}:AAAA", PUBLIC, **HERE)
    assert key_of_signature(sign_order(DRAIN, PRIVATE, **HERE).signature) == key_name(PUBLIC)


def test_a_public_key_is_the_line_of_its_pem_file() -> None:
    """As openssl prints it."""
    pem = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    line = pem.splitlines()[1]
    assert encode_public_key(PUBLIC) == line
    assert decode_public_key(line) == PUBLIC


@pytest.mark.parametrize(
    "text", ["", "kim", base64.b64encode(PUBLIC).decode(), encode_public_key(PUBLIC[:-1]), "?" * 60, "é"]
)
def test_what_is_no_public_key_says_what_is_one(text: str) -> None:
    """The remedy is in the error, and the text is not, as it could be a private key."""
    with pytest.raises(SignatureError, match="openssl pkey -pubout") as error:
        decode_public_key(text)
    assert not text or text == "kim" or text not in str(error.value)


def test_a_fingerprint_stands_for_one_signature() -> None:
    """Another order has another one."""
    first, second = (sign_order(replace(DRAIN, id=name), PRIVATE, **HERE) for name in ("a", "b"))
    assert fingerprint(first.signature) != fingerprint(second.signature)
    assert len(fingerprint(first.signature)) == 16
