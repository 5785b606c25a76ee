"""The emergency overlay: an operator excludes pools at every client at once, for at most four hours.

It needs no Kafka and no controller, only a place that clients read: Redis, a controller's HTTP endpoint, or a
file. It can exclude pools and do nothing else. Each client checks its signature with public keys that the
application passed, so being able to write to those places gives nobody any power. A newer overlay replaces an
older one whole; one that excludes nothing takes the older one back.

It travels as JSON with three fields: ``payload`` (the overlay as JSON text; exactly these characters are
signed), ``key`` (the name of the public key) and ``signature`` (Ed25519, in base64). Keys are PEM files, made
by ``openssl genpkey -algorithm ed25519``. Operators make overlays with ``tieline overlay``
(docs/operating.md).
"""

import base64
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from tieline.errors import UNDECODABLE
from tieline.event_fields import InstantMs, Name, Scope
from tieline.order_signing import key_name
from tieline.signatures import PublicKeys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LASTS_MAX_MS = 4 * 3_600_000
CLOCK_SKEW_MAX_MS = 60_000
SCOPES_MAX = 500
OVERLAY_MAX_BYTES = 128 * 1024
_DOMAIN = b"tieline-overlay-1\n"  # signed with the payload: a signature for anything else is not valid here


class OverlayError(ValueError):
    """An overlay must not be honoured; the message says why."""


class OverlayExpiredError(OverlayError):
    """The overlay has expired; nothing else is wrong with it."""


class Overlay(Struct, frozen=True):
    """What is excluded, and by whom. ``exclude``: providers, provider/region, or whole pools; ``issued_ms``
    until ``expires_ms``: Unix time; ``namespace``: of the installation that it is for."""

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


_payload = msgspec.json.Decoder(Overlay)
_signed = msgspec.json.Decoder(_Signed)


def sign(overlay: Overlay, private: "Ed25519PrivateKey") -> bytes:
    """Sign the overlay with the ``private`` key and return it as it travels. Raises OverlayError for one that
    no client would honour."""
    payload = msgspec.json.encode(overlay)
    _check(payload, overlay.namespace, overlay.issued_ms)
    signature = base64.b64encode(private.sign(_DOMAIN + payload)).decode()
    return msgspec.json.encode(
        _Signed(payload.decode(), key_name(private.public_key().public_bytes_raw()), signature)
    )


def verify(data: bytes, keys: PublicKeys, *, namespace: str, now_ms: int) -> Overlay:
    """The overlay, if one of the keys signed it and it applies at ``now_ms`` (Unix). Raises OverlayError."""
    signed = _envelope(data)
    key = keys.get(signed.key)
    if key is None:
        raise OverlayError(f"it is signed by the key {signed.key!r}, which is not among overlay_keys")
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signed.signature, validate=True), _DOMAIN + signed.payload.encode())
    except (InvalidSignature, ValueError):
        raise OverlayError(f"its signature was not made with the key {signed.key!r}") from None
    return _check(signed.payload.encode(), namespace, now_ms)


def peek(data: bytes) -> Overlay:
    """The overlay without checking who signed it: to show or compare it, never to act on it. Raises
    OverlayError for data that is not an overlay."""
    try:
        return _payload.decode(_envelope(data).payload)
    except UNDECODABLE as error:
        raise OverlayError(f"not an overlay: {error}") from None


def _envelope(data: bytes) -> _Signed:
    if len(data) > OVERLAY_MAX_BYTES:
        raise OverlayError(f"it takes more than {OVERLAY_MAX_BYTES} bytes")
    try:
        return _signed.decode(data)
    except UNDECODABLE as error:
        raise OverlayError(f"not a signed overlay: {error}") from None


def _check(payload: bytes, namespace: str, now_ms: int) -> Overlay:
    try:
        overlay = _payload.decode(payload)
    except UNDECODABLE as error:
        raise OverlayError(f"not an overlay: {error}") from None
    if overlay.namespace != namespace:
        raise OverlayError(f"it is for the namespace {overlay.namespace!r}, and this is {namespace!r}")
    if not 0 < overlay.expires_ms - overlay.issued_ms <= LASTS_MAX_MS:
        raise OverlayError("it lasts for more than 4 h, or ends before it begins")
    if overlay.issued_ms > now_ms + CLOCK_SKEW_MAX_MS:
        raise OverlayError("it was issued in the future: compare the clocks of the machines")
    if overlay.expires_ms <= now_ms:
        raise OverlayExpiredError("it has expired")
    return overlay
