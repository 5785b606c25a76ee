"""Who a collector is to a provider's API: tokens of Entra and of Google, and signatures for Oracle.

They come from the client library's own functions (``tieline.identity_tokens``, ``tieline.request_signing``),
which follow the providers' libraries. A token is kept until shortly before it expires.
"""

from collections.abc import Callable

from yarl import URL

from controller.collect.collector import Identity
from controller.process.errors import UserError
from tieline.credentials import MissingCredentialError, RequestToSign, Token
from tieline.errors import ConfigurationError, MissingExtraError
from tieline.identity_tokens import EntraToken, GoogleToken
from tieline.request_signing import OciSigner

SCOPES = {
    "entra": "https://management.azure.com/.default",
    "google": "https://www.googleapis.com/auth/cloud-platform",
}
SPARE_MS = 300_000  # a token is renewed this long before it expires


class IdentityHeaders:
    """The headers that show who a collector is. Calls block: make them in a thread."""

    def __init__(self, identity: Identity | None, now_ms: Callable[[], int]) -> None:
        self._identity = identity
        self._now_ms = now_ms
        self._token = ""
        self._renew_ms = 0

    def of(self, url: str) -> dict[str, str]:
        """For a GET of this URL; empty without an identity. Raises ``UserError``."""
        if self._identity is None:
            return {}
        try:
            if self._identity.kind == "oci":
                return _signed(self._identity, url)
            if self._now_ms() >= self._renew_ms or not self._token:
                token = _new_token(self._identity)
                self._token = token.value
                self._renew_ms = self._now_ms() + token.expires_in_ms - SPARE_MS
        except (MissingCredentialError, MissingExtraError, ConfigurationError) as error:
            raise UserError(f"identity: {error}") from None
        return {"Authorization": f"Bearer {self._token}"}


def _new_token(identity: Identity) -> Token:
    scope = identity.scope or SCOPES[identity.kind]
    return EntraToken(scope)() if identity.kind == "entra" else GoogleToken(scope)()


def _signed(identity: Identity, url: str) -> dict[str, str]:
    """The file is read for each request, so that a key that was replaced is noticed."""
    parts = URL(url)  # as aiohttp will send it
    signer = OciSigner.from_file(identity.file, identity.profile)
    headers = signer.sign(RequestToSign("GET", parts.raw_path_qs, parts.host_port_subcomponent or ""))
    return {name.decode(): value.decode() for name, value in headers}
