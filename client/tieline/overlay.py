"""The emergency overlay: pools to keep away from at once, by an operator's signature, for at most four hours.

It needs no Kafka and no controller, only a way to the clients: Redis, a controller's HTTP endpoint or a file.
It can only exclude. Each client checks it against public keys of its own, so that whoever may write to those
places can do nothing with that; a newer overlay replaces an older one whole, and one without exclusions takes
it back.

It travels as JSON: ``payload`` (the overlay as JSON text, these very characters signed), ``key`` (which
public key) and ``signature`` (Ed25519, base64). Keys are PEM, of ``openssl genpkey -algorithm ed25519``.
"""

import base64
import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from tieline.errors import ConfigurationError, MissingExtraError
from tieline.events import InstantMs, Name, Scope

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

LASTS_MAX_MS = 4 * 3_600_000
CLOCK_SKEW_MAX_MS = 60_000
SCOPES_MAX = 500
OVERLAY_MAX_BYTES = 128 * 1024
_DOMAIN = b"tieline-overlay-1\n"  # so that a signature made for anything else is none here
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


class OverlayError(ValueError):
    """An overlay that must not be honoured; the message says why."""


class OverlayExpiredError(OverlayError):
    """Its time is over: nothing is wrong with it."""


class Overlay(Struct, frozen=True):
    """What is excluded, for ``reason`` by ``actor``: providers, provider/region or whole pools, from
    ``issued_ms`` until ``expires_ms`` (Unix). ``namespace`` is the installation's."""

    id: Name
    namespace: str
    exclude: Annotated[tuple[Scope, ...], Meta(max_length=SCOPES_MAX)]
    issued_ms: InstantMs
    expires_ms: InstantMs
    actor: Annotated[str, Meta(min_length=1, max_length=200)]
    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]


class _Signed(Struct, frozen=True):
    payload: str
    key: str
    signature: str


PublicKeys: TypeAlias = "dict[str, Ed25519PublicKey]"
_payload = msgspec.json.Decoder(Overlay)
_signed = msgspec.json.Decoder(_Signed)


def public_keys(given: Iterable[str | Path]) -> PublicKeys:
    """Public keys by their names, from PEM texts or the paths of files with one or more of them.

    Raises ConfigurationError for what is no key, MissingExtraError without cryptography.
    """
    keys: PublicKeys = {}
    for one in given:
        is_text = isinstance(one, str) and "-----BEGIN" in one
        for pem in _PEM.findall(str(one) if is_text else _text_of(Path(one))) or [""]:
            place = "overlay_keys" if is_text else str(one)
            key = _public_key(pem, place)
            keys[key_name(key)] = key
    return keys


def key_name(key: "Ed25519PublicKey") -> str:
    """Short, and the same everywhere: part of the SHA-256 of the key itself."""
    return sha256(key.public_bytes_raw()).hexdigest()[:16]


def sign(overlay: Overlay, private: "Ed25519PrivateKey") -> bytes:
    """The overlay as it travels, signed with the ``private`` key. Raises OverlayError for one that no client
    would honour."""
    payload = msgspec.json.encode(overlay)
    _check(payload, overlay.namespace, overlay.issued_ms)
    signature = base64.b64encode(private.sign(_DOMAIN + payload)).decode()
    return msgspec.json.encode(_Signed(payload.decode(), key_name(private.public_key()), signature))


def verify(data: bytes, keys: PublicKeys, *, namespace: str, now_ms: int) -> Overlay:
    """The overlay, if one of the keys signed it and it holds now (Unix milliseconds), else OverlayError."""
    signed = _envelope(data)
    key = keys.get(signed.key)
    if key is None:
        raise OverlayError(f"signed by the key {signed.key!r}, which is not among overlay_keys")
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signed.signature, validate=True), _DOMAIN + signed.payload.encode())
    except (InvalidSignature, ValueError):
        raise OverlayError(f"its signature is not that of the key {signed.key!r}") from None
    return _check(signed.payload.encode(), namespace, now_ms)


def peek(data: bytes) -> Overlay:
    """What an overlay says of itself, whoever made it: for showing and comparing, never for honouring. Raises
    OverlayError for what is none."""
    try:
        return _payload.decode(_envelope(data).payload)
    except msgspec.MsgspecError as error:
        raise OverlayError(f"not an overlay: {error}") from None


def _envelope(data: bytes) -> _Signed:
    if len(data) > OVERLAY_MAX_BYTES:
        raise OverlayError(f"more than {OVERLAY_MAX_BYTES} bytes")
    try:
        return _signed.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise OverlayError(f"not a signed overlay: {error}") from None


def _check(payload: bytes, namespace: str, now_ms: int) -> Overlay:
    try:
        overlay = _payload.decode(payload)
    except msgspec.MsgspecError as error:
        raise OverlayError(f"not an overlay: {error}") from None
    if overlay.namespace != namespace:
        raise OverlayError(f"it is for the namespace {overlay.namespace!r}, this is {namespace!r}")
    if not 0 < overlay.expires_ms - overlay.issued_ms <= LASTS_MAX_MS:
        raise OverlayError("it lasts for more than 4 h, or ends before it begins")
    if overlay.issued_ms > now_ms + CLOCK_SKEW_MAX_MS:
        raise OverlayError("it is issued in the future: look at the clocks")
    if overlay.expires_ms <= now_ms:
        raise OverlayExpiredError("it has expired")
    return overlay


def _text_of(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"overlay_keys: {path} can't be read: {error}") from None


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
            f"{place}: no Ed25519 public key in PEM, as `openssl pkey -pubout` makes them"
        )
    return key
