"""Whether a caller shows the secret of a hook. A comparison takes as long wherever it differs. Pure.

A bearer token is what most senders can send. PagerDuty signs its bodies, and tools that speak its Events API
put the secret into the field ``routing_key``. Statuspage can do neither, so its secret is the parameter
``token`` of the URL, which proxies may log: give it a secret of its own.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256

import msgspec
from msgspec import Struct

from controller.collect.webhook.hooks import Hook, PagerDutyHook, StatuspageHook
from tieline.errors import UNDECODABLE

SIGNATURE = "x-pagerduty-signature"
SIGNATURES_MAX = 10


class _Routed(Struct):
    routing_key: str = ""


def shows_secret(
    hook: Hook, secret: str, *, headers: Mapping[str, str], parameters: Mapping[str, str], body: bytes
) -> bool:
    """Whether a request shows the hook's secret. ``headers``: with names in small letters."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    fits = [kind.lower() == "bearer" and is_same(token.strip(), secret)]
    if isinstance(hook, StatuspageHook):
        fits.append(is_same(parameters.get("token", ""), secret))
    if isinstance(hook, PagerDutyHook):
        expected = "v1=" + hmac.new(secret.encode(), body, sha256).hexdigest()
        signatures = headers.get(SIGNATURE, "").split(",")[:SIGNATURES_MAX]
        fits += [is_same(signature.strip(), expected) for signature in signatures]
        fits.append(is_same(_routing_key(body), secret))
    return any(fits)


def is_same(text: str, secret: str) -> bool:
    """Whether two texts are the same, and the secret is not empty."""
    digests = [sha256(part.encode("utf-8", "replace")).digest() for part in (text, secret)]
    return hmac.compare_digest(*digests) and bool(secret)


def _routing_key(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Routed).routing_key
    except UNDECODABLE:
        return ""
