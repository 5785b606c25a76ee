"""Tokens of Microsoft Entra and of Google, from what their own tools leave in the environment.

Both are functions for ``credentials=``; they are asked again before a token expires. For what they can't do
(managed identities, external accounts) give a function of the application's own, for instance one that uses
azure-identity or google-auth.

Entra gives tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4), Google by a signed assertion (RFC
7523), a refresh token (RFC 6749, section 6), or its metadata server. No error repeats what was sent.
"""

import base64
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tieline._http.endpoint import http_engine
from tieline._process import clock as _clock
from tieline.credentials import MissingCredentialError, Token
from tieline.errors import MissingExtraError

TIMEOUT_S = 10.0
ANSWER_MAX_BYTES = 256 * 1024
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"
ENTRA_HOST = "https://login.microsoftonline.com"
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"
GOOGLE_METADATA_HOST = "metadata.google.internal"
_JWT_S = 3_600
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class EntraToken:
    """Azure's token by client credentials: ``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID``, and either
    ``AZURE_CLIENT_SECRET`` or ``AZURE_FEDERATED_TOKEN_FILE`` (workload identity), as Azure's own libraries
    read them; ``AZURE_AUTHORITY_HOST`` for national clouds. ``scope``: what the token is for;
    ``environment``: where the names are looked up. A call raises MissingCredentialError."""

    def __init__(self, scope: str = ENTRA_SCOPE, environment: Mapping[str, str] = os.environ) -> None:
        self._scope = scope
        self._environment = environment

    def __repr__(self) -> str:
        return f"EntraToken({self._scope!r})"

    async def __call__(self) -> Token:
        """A new token. Raises ``MissingCredentialError``."""
        environment = self._environment
        tenant, client = _required(environment, "AZURE_TENANT_ID"), _required(environment, "AZURE_CLIENT_ID")
        form = {"grant_type": "client_credentials", "client_id": client, "scope": self._scope}
        if file := environment.get("AZURE_FEDERATED_TOKEN_FILE"):
            form |= {"client_assertion_type": _ASSERTION, "client_assertion": _read(Path(file)).strip()}
        else:
            form["client_secret"] = _required(environment, "AZURE_CLIENT_SECRET")
        host = environment.get("AZURE_AUTHORITY_HOST", ENTRA_HOST).rstrip("/")
        return await _ask("POST", f"{host}/{tenant}/oauth2/v2.0/token", form)


class GoogleToken:
    """Google's application default credentials: the file that ``GOOGLE_APPLICATION_CREDENTIALS`` names (a
    service account or an authorized user), else gcloud's own, else the metadata server of the machine
    (``GCE_METADATA_HOST``). A service account's needs the extra ``tieline[google]``. ``scope``: what the
    token is for. A call raises MissingCredentialError, and MissingExtraError without what it needs."""

    def __init__(self, scope: str = GOOGLE_SCOPE, environment: Mapping[str, str] = os.environ) -> None:
        self._scope = scope
        self._environment = environment

    def __repr__(self) -> str:
        return f"GoogleToken({self._scope!r})"

    async def __call__(self) -> Token:
        """A new token. Raises ``MissingCredentialError``."""
        environment = self._environment
        own_file = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
        gcloud = Path(environment.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud")
        file = Path(own_file) if own_file else gcloud / "application_default_credentials.json"
        if own_file or file.exists():
            return await self._by_file(file)
        host = environment.get("GCE_METADATA_HOST", GOOGLE_METADATA_HOST)
        path = "/computeMetadata/v1/instance/service-accounts/default/token"
        url = f"http://{host}{path}?scopes={self._scope}"
        return await _ask("GET", url, {}, {"metadata-flavor": "Google"})

    async def _by_file(self, file: Path) -> Token:
        try:
            account: dict[str, str] = msgspec.json.decode(_read(file))
            kind, url = account["type"], account.get("token_uri", GOOGLE_TOKEN_URL)
            if kind == "authorized_user":
                form = {name: account[name] for name in ("client_id", "client_secret", "refresh_token")}
                return await _ask("POST", url, {"grant_type": "refresh_token", **form})
            if kind == "service_account":
                assertion = self._assertion(account, url)
                grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
                return await _ask("POST", url, {"grant_type": grant, "assertion": assertion})
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
            raise MissingCredentialError(f"{file} is not a file of Google credentials") from None
        raise MissingCredentialError(
            f"{file} has type {kind!r}, which is not supported: give a function that uses google-auth"
        )

    def _assertion(self, account: Mapping[str, str], audience: str) -> str:
        """RFC 7523: the account says who it is, signed with its own key."""
        try:
            from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
            from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ImportError:
            raise MissingExtraError("cryptography", "google") from None
        now_s = _clock.now_ms() // 1_000
        email = account["client_email"]
        claims = {"iss": email, "scope": self._scope, "aud": audience, "iat": now_s, "exp": now_s + _JWT_S}
        head = {"alg": "RS256", "typ": "JWT", "kid": account["private_key_id"]}
        text = f"{_base64(msgspec.json.encode(head))}.{_base64(msgspec.json.encode(claims))}"
        try:
            key = load_pem_private_key(account["private_key"].encode(), None)
        except ValueError:  # its text could repeat some of the key
            key = None
        if not isinstance(key, RSAPrivateKey):
            raise MissingCredentialError(f"the private key of {email} is no RSA key")
        return f"{text}.{_base64(key.sign(text.encode(), PKCS1v15(), SHA256()))}"


async def _ask(method: str, url: str, form: dict[str, str], headers: dict[str, str] | None = None) -> Token:
    """A token endpoint's answer. Redirects are not followed, as the secret would go with them, and no error
    repeats what was sent."""
    place = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    library: Any = import_module(http_engine())
    try:
        async with library.AsyncClient(follow_redirects=False, timeout=TIMEOUT_S) as http:
            answer = await http.request(method, url, data=form or None, headers=headers)
    except library.HTTPError as error:
        raise MissingCredentialError(f"{place} gave no token: {type(error).__name__}") from None
    body = answer.content[:ANSWER_MAX_BYTES]
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        fields = {}
    if answer.status_code != 200 or not isinstance(fields.get("access_token"), str):
        code = fields.get("error")
        reason = f", {code[:100]}" if isinstance(code, str) else ""
        raise MissingCredentialError(f"{place} gave no token: HTTP {answer.status_code}{reason}")
    return Token(fields["access_token"], int(float(fields.get("expires_in", 60)) * 1_000))


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise MissingCredentialError(f"{name} is not set")
    return value


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise MissingCredentialError(f"{file} can't be read: {type(error).__name__}") from None


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
