"""How operators sign their orders, and how every reader of the command log checks a signature.

What is signed are these bytes: the line ``tieline-order-1``, the namespace and the lineage of the
installation, each as one line, then the order as JSON. The JSON has the order's ``type`` and all of its
fields that differ from their defaults, except ``signature``, sorted by name and without spaces. So a
signature is valid for one order of one installation only: an order that was signed for staging says nothing
in production, and a signature for anything else (an overlay, say) is none for an order. A field that a later
version adds leaves the bytes of orders without it as they were.

A signature is text, ``ed25519:KEY:SIGNATURE``: the name of the public key (``key_name``), and the 64 bytes of
Ed25519 (RFC 8032) in base64. A public key is written as the line between the BEGIN and END lines of its PEM
file, that is RFC 8410's SubjectPublicKeyInfo in base64: ``openssl pkey -pubout`` prints the same. Any struct
that has a ``signature`` can be signed.

Signing and checking need the package cryptography (``pip install 'tieline[overlay]'``).
"""

import base64
import binascii
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import fields, replace

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_KEY_BYTES = 32
_DOMAIN = "tieline-order-1"
_ALGORITHM = "ed25519"
_DER_PREFIX = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: what stands before the key itself
_FINGERPRINT_DIGITS = 16

Signable = TypeVar("Signable", bound=Struct)


class SignatureError(ValueError):
    """A public key or a signature is not written as it must be; the message says what is wrong."""


def decode_public_key(text: str) -> bytes:
    """The 32 bytes of a public key that is written as one line. Raises SignatureError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    key = data.removeprefix(_DER_PREFIX)
    if not data.startswith(_DER_PREFIX) or len(key) != PUBLIC_KEY_BYTES:
        raise SignatureError(
            "it is not an Ed25519 public key: give the line between BEGIN and END that "
            "`openssl pkey -pubout` prints, or make a key with `tieline keys new`"
        )
    return key


def encode_public_key(key: bytes) -> str:
    """The line that stands for these 32 bytes."""
    return base64.b64encode(_DER_PREFIX + key).decode()


def key_name(key: bytes) -> str:
    """A short name of the 32 bytes, the same everywhere: the first 16 hex digits of their SHA-256."""
    return sha256(key).hexdigest()[:16]


def signed_bytes(order: Struct, *, namespace: str, lineage: str) -> bytes:
    """What is signed of an order, for the installation with this namespace and lineage."""
    differing: dict[str, Any] = {"type": order.__struct_config__.tag}
    for field in fields(order):
        value = getattr(order, field.name)
        if field.name != "signature" and (field.required or value != field.default):
            differing[field.name] = value
    body = msgspec.json.encode(differing, order="deterministic")
    return f"{_DOMAIN}\n{namespace}\n{lineage}\n".encode() + body


def sign_order(order: Signable, private: "Ed25519PrivateKey", *, namespace: str, lineage: str) -> Signable:
    """The same order with its signature by the ``private`` key."""
    data = signed_bytes(order, namespace=namespace, lineage=lineage)
    return replace(order, signature=signature_text(private, data))


def signature_text(private: "Ed25519PrivateKey", data: bytes) -> str:
    """The signature of the data by the ``private`` key, as text."""
    name = key_name(private.public_key().public_bytes_raw())
    return f"{_ALGORITHM}:{name}:{base64.b64encode(private.sign(data)).decode()}"


def key_of_signature(signature: str) -> str:
    """The name of the key that a signature claims to be made with. Raises SignatureError."""
    return parts_of_signature(signature)[0]


def is_signed_by(order: Struct, signature: str, key: bytes, *, namespace: str, lineage: str) -> bool:
    """Whether the holder of the public ``key`` (32 bytes) signed this order for this installation."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = signed_bytes(order, namespace=namespace, lineage=lineage)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(parts_of_signature(signature)[1], data)
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint(signature: str) -> str:
    """16 hex digits that stand for what was signed: who countersigns an order names them beside its id."""
    return sha256(signature.encode()).hexdigest()[:_FINGERPRINT_DIGITS]


def parts_of_signature(signature: str) -> tuple[str, bytes]:
    """The name of the key and the 64 bytes in the text of a signature. Raises SignatureError."""
    algorithm, _, rest = signature.partition(":")
    name, _, encoded = rest.partition(":")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if algorithm != _ALGORITHM or not name or not data:
        raise SignatureError(f"the signature is not written as {_ALGORITHM}:KEY:SIGNATURE")
    return name, data
