"""Signatures by which controllers and sources show that a record is theirs.

What is signed is a list of parts: a word for the kind of thing, the places that it is for (a topic, a key, a
generation), and the bytes themselves or their SHA-256. Each part is written as its length, a colon and its
bytes, so that no two lists give the same bytes. A signature for one kind or place is therefore none for
another one, and a record can't be copied to another topic or under another generation.

=====================  ====================================================================================
what                   the parts
=====================  ====================================================================================
a record of the        ``tieline-routes-1``, the topic, the key, ``ce_id`` (which is the generation, with
routes log             lineage, epoch and seq), ``ce_source`` (the controller), the SHA-256 of the value
a record of the        ``tieline-leader-1``, the topic, the key, ``ce_id``, ``ce_source``, the SHA-256 of
leader log             the value
a table in Redis       ``tieline-manifest-1``, the namespace, the manifest. It has the generation and a
                       checksum of each slice, so one signature covers the whole table.
an event of a source   ``tieline-event-1``, the topic, the key, ``ce_type``, ``ce_source``, ``ce_id``, the
                       SHA-256 of the value
=====================  ====================================================================================

A signature is text, ``ed25519:KEY:SIGNATURE``, as that of an order: the name of the public key and the 64
bytes of Ed25519 (RFC 8032) in base64. In a record of Kafka it is the header ``tieline_signature``. Any of
several accepted public keys will do, so that a key can be replaced while everything runs. Needs the package
cryptography (``pip install 'tieline[overlay]'``). Tests: tests/unit/client/test_signatures.py.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tieline.errors import ConfigurationError, MissingExtraError
from tieline.order_signing import (
    SignatureError,
    decode_public_key,
    key_name,
    parts_of_signature,
    signature_text,
)
from tieline.private_files import read_private_file
from tieline.table import SignedManifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_HEADER = "tieline_signature"
ROUTES_KIND, LEADER_KIND = b"tieline-routes-1", b"tieline-leader-1"
MANIFEST_KIND, EVENT_KIND = b"tieline-manifest-1", b"tieline-event-1"
SIGNATURE_MAX_CHARS = 200
_BOUND_HEADERS = ("ce_source", "ce_id")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)

PublicKeys: TypeAlias = "Mapping[str, Ed25519PublicKey]"
NO_KEYS: PublicKeys = {}
SOURCES_REMEMBERED_MAX = 1_000
Headers: TypeAlias = Iterable[tuple[str, bytes | None]]


def public_keys(texts_or_paths: Iterable[str | Path], setting: str) -> PublicKeys:
    """Public keys by their names, from PEM texts or the paths of files that contain one or more of them.

    ``setting``: what an error calls the place of a text. Raises ConfigurationError where there is no Ed25519
    key, MissingExtraError without cryptography.
    """
    keys: dict[str, Ed25519PublicKey] = {}
    for item in texts_or_paths:
        is_text = isinstance(item, str) and "-----BEGIN" in item
        for pem in _PEM.findall(str(item) if is_text else _text_of(Path(item), setting)) or [""]:
            key = _public_key(pem, setting if is_text else f"{setting}: {item}")
            keys[key_name(key.public_bytes_raw())] = key
    return keys


def sign_parts(private: "Ed25519PrivateKey", *parts: bytes) -> str:
    """The signature of the parts by the ``private`` key, as text."""
    return signature_text(private, _joined(parts))


def signature_flaw(signature: str, keys: PublicKeys, *parts: bytes) -> str:
    """Why the signature does not show that the holder of one of the keys signed these parts, in words that
    follow on "it is"; empty if it does."""
    if not signature:
        return "not signed"
    try:
        name, data = parts_of_signature(signature[:SIGNATURE_MAX_CHARS])
    except SignatureError:
        return "not signed in a form that can be read"
    if (key := keys.get(name)) is None:
        return f"signed by the key {name[:32]!r}, which is not accepted here"
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(data, _joined(parts))
    except InvalidSignature:
        return f"not what was signed with the key {name!r}"
    return ""


def record_parts(kind: bytes, topic: str, key: bytes | None, value: bytes, headers: Headers) -> list[bytes]:
    """What is signed of a record of Kafka of this ``kind``; see the head of this file."""
    by_name = {name: text or b"" for name, text in headers}
    names = ("ce_type", *_BOUND_HEADERS) if kind == EVENT_KIND else _BOUND_HEADERS
    bound = [by_name.get(name, b"") for name in names]
    return [kind, topic.encode(), key or b"", *bound, sha256(value).digest()]


class SignedRecord(Protocol):
    """What a signature covers of a record of Kafka."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its body."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Its headers, in their order."""


def private_key(text_or_path: str | Path, setting: str) -> "Ed25519PrivateKey":
    """The Ed25519 key in an unencrypted PEM text, or in a file that nobody else can read (``private_files``).
    Raises ConfigurationError, whose text begins with ``setting`` and has nothing of the key, and
    MissingExtraError without cryptography."""
    is_text = isinstance(text_or_path, str) and "-----BEGIN" in text_or_path
    try:
        pem = str(text_or_path).encode() if is_text else read_private_file(Path(text_or_path))
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from None
    if (key := decode_private_key(pem)) is None:
        raise ConfigurationError(
            f"{setting}: expected an unencrypted Ed25519 private key in PEM, made by "
            "`openssl genpkey -algorithm ed25519`"
        )
    return key


def decode_private_key(pem: bytes) -> "Ed25519PrivateKey | None":
    """The Ed25519 key in an unencrypted PEM; None for anything else, as an error could repeat some of the
    key. Raises MissingExtraError without cryptography."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise MissingExtraError("cryptography", "overlay") from None
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def sign_event(private: "Ed25519PrivateKey", topic: str, record: SignedRecord) -> tuple[str, bytes]:
    """The header by which a source shows that this record is its own."""
    parts = record_parts(EVENT_KIND, topic, record.key, record.value or b"", record.headers)
    return SIGNATURE_HEADER, sign_parts(private, *parts).encode()


def event_flaw(topic: str, record: SignedRecord, lines: tuple[str, ...]) -> str:
    """Why none of the keys, each written as one line as in a policy, signed this record on this topic; empty
    if one did. The words are those of ``signature_flaw``."""
    if not (signature := signature_in(record.headers)):
        return "not signed"
    parts = record_parts(EVENT_KIND, topic, record.key, record.value or b"", record.headers)
    return signature_flaw(signature, _keys_in(lines), *parts)


@lru_cache(maxsize=SOURCES_REMEMBERED_MAX)
def _keys_in(lines: tuple[str, ...]) -> PublicKeys:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = map(decode_public_key, lines)
    return {key_name(key): Ed25519PublicKey.from_public_bytes(key) for key in raw}


def sign_manifest(private: "Ed25519PrivateKey", manifest: bytes, namespace: str) -> str:
    """The signature of a table in Redis, which is that of its manifest."""
    return sign_parts(private, MANIFEST_KIND, namespace.encode(), manifest)


def manifest_flaw(signed: SignedManifest, keys: PublicKeys, namespace: str) -> str:
    """Why none of the keys has signed this manifest for this namespace; empty if one has. The words are those
    of ``signature_flaw``."""
    parts = (MANIFEST_KIND, namespace.encode(), signed.manifest)
    return signature_flaw(signed.signature, keys, *parts)


def signature_in(headers: Headers) -> str:
    """The signature that a record carries; empty if it has none."""
    text = next((value for name, value in headers if name == SIGNATURE_HEADER), b"")
    return (text or b"").decode("ascii", "replace")


def _joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(b"%d:%s" % (len(part), part) for part in parts)


def _text_of(path: Path, setting: str) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{setting}: {path} can't be read: {error}") from None


def _public_key(pem: str, place: str) -> "Ed25519PublicKey":
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise MissingExtraError("cryptography", "overlay") from None
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(
            f"{place}: expected an Ed25519 public key in PEM, made by `openssl pkey -pubout`"
        )
    return key
