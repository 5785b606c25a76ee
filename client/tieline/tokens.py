"""Tokens of Microsoft Entra and of Google, from what their own tools leave in the environment.

Both are callables for ``credentials=``; they are asked again before a token expires. Whatever they don't
know (managed identities, external accounts) a function of the application's own can do, for instance with
azure-identity or google-auth.
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
        told = self._environment
        tenant, client = _needed(told, "AZURE_TENANT_ID"), _needed(told, "AZURE_CLIENT_ID")
        form = {"grant_type": "client_credentials", "client_id": client, "scope": self._scope}
        if file := told.get("AZURE_FEDERATED_TOKEN_FILE"):
            form |= {"client_assertion_type": _ASSERTION, "client_assertion": _read(Path(file)).strip()}
        else:
            form["client_secret"] = _needed(told, "AZURE_CLIENT_SECRET")
        host = told.get("AZURE_AUTHORITY_HOST", ENTRA_HOST).rstrip("/")
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
        told = self._environment
        named = told.get("GOOGLE_APPLICATION_CREDENTIALS")
        usual = Path(told.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud")
        file = Path(named) if named else usual / "application_default_credentials.json"
        if named or file.exists():
            return await self._of_file(file)
        host = told.get("GCE_METADATA_HOST", GOOGLE_METADATA_HOST)
        path = "/computeMetadata/v1/instance/service-accounts/default/token"
        url = f"http://{host}{path}?scopes={self._scope}"
        return await _ask("GET", url, {}, {"metadata-flavor": "Google"})

    async def _of_file(self, file: Path) -> Token:
        try:
            held: dict[str, str] = msgspec.json.decode(_read(file))
            kind, url = held["type"], held.get("token_uri", GOOGLE_TOKEN_URL)
            if kind == "authorized_user":
                form = {name: held[name] for name in ("client_id", "client_secret", "refresh_token")}
                return await _ask("POST", url, {"grant_type": "refresh_token", **form})
            if kind == "service_account":
                jwt = self._signed(held, url)
                grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
                return await _ask("POST", url, {"grant_type": grant, "assertion": jwt})
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
            raise MissingCredentialError(f"{file} is no file of Google credentials") from None
        raise MissingCredentialError(f"{file} is of type {kind!r}: give a function that uses google-auth")

    def _signed(self, held: Mapping[str, str], audience: str) -> str:
        """RFC 7523: the account says who it is, signed with its own key."""
        try:
            from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
            from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ImportError:
            raise MissingExtraError("cryptography", "google") from None
        now_s = _clock.now_ms() // 1_000
        account = held["client_email"]
        claims = {"iss": account, "scope": self._scope, "aud": audience, "iat": now_s, "exp": now_s + _JWT_S}
        head = {"alg": "RS256", "typ": "JWT", "kid": held["private_key_id"]}
        text = f"{_base64(msgspec.json.encode(head))}.{_base64(msgspec.json.encode(claims))}"
        try:
            key = load_pem_private_key(held["private_key"].encode(), None)
        except ValueError:  # what was wrong could repeat some of the key
            key = None
        if not isinstance(key, RSAPrivateKey):
            raise MissingCredentialError(f"the private key of {account} is no RSA key")
        return f"{text}.{_base64(key.sign(text.encode(), PKCS1v15(), SHA256()))}"


async def _ask(method: str, url: str, form: dict[str, str], headers: dict[str, str] | None = None) -> Token:
    """A token endpoint's answer. No redirects, no proxies that the environment does not name, no secret in an
    error."""
    place = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    library: Any = import_module(http_engine())
    try:
        async with library.AsyncClient(follow_redirects=False, timeout=TIMEOUT_S) as http:
            answer = await http.request(method, url, data=form or None, headers=headers)
    except library.HTTPError as error:
        raise MissingCredentialError(f"{place} gave no token: {type(error).__name__}") from None
    body = answer.content[:ANSWER_MAX_BYTES]
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        found = {}
    if answer.status_code != 200 or not isinstance(found.get("access_token"), str):
        code = found.get("error")
        said = f", {code[:100]}" if isinstance(code, str) else ""
        raise MissingCredentialError(f"{place} gave no token: HTTP {answer.status_code}{said}")
    return Token(found["access_token"], int(float(found.get("expires_in", 60)) * 1_000))


def _needed(told: Mapping[str, str], name: str) -> str:
    value = told.get(name, "")
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
