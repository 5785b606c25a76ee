"""Tokens of Microsoft Entra and of Google, by these providers' own libraries.

Both classes are functions for ``credentials=``. The libraries find out by themselves who the program is, as
they do in every other program on that machine: by a secret or key file, a workload or managed identity, an
external account, or the login of a developer. This module adds four rules:

- *Each call asks anew.* The libraries keep a token until shortly before it expires, so that a refused one
  would come back; ``tieline.credentials`` keeps tokens and says when the next is due.
- *No call lasts for long*: 5 s to connect and 10 s to wait for an answer. It is ``tieline.credentials`` that
  calls again, after a wait.
- *No redirect is followed*, as a secret would go with it. (azure-identity follows none by itself.)
- *No error repeats what an endpoint says*, which may repeat what was sent, but its codes only. The loggers
  ``azure.identity`` and ``google.auth`` say more.

Tested against endpoints on loopback in tests/integration/test_client_identities.py.
"""

import re
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tieline._process import clock as _clock
from tieline.credentials import MissingCredentialError, Token
from tieline.errors import MissingExtraError

CONNECT_S = 5
ANSWER_S = 10
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
# Codes of OAuth 2.0 (RFC 6749, section 5.2) and of Entra.
_CODES = re.compile(r"\b(?:AADSTS\d+|(?:invalid|unauthorized|unsupported|access)_[a-z]+)\b")


class EntraToken:
    """A token of Microsoft Entra, by ``azure.identity.DefaultAzureCredential``: by the environment's
    ``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID`` and ``AZURE_CLIENT_SECRET`` (or certificate), else by a workload
    identity, a managed identity (``AZURE_CLIENT_ID`` names one that a user has assigned), or the login of a
    developer. ``AZURE_TOKEN_CREDENTIALS=prod`` leaves the last out, ``AZURE_AUTHORITY_HOST`` names a national
    cloud.

    ``scope``: what the token is for. Raises MissingExtraError without ``tieline[azure]``; a call raises
    MissingCredentialError. A call blocks: give the object itself to ``credentials=``, which calls it in a
    thread.
    """

    def __init__(self, scope: str = ENTRA_SCOPE) -> None:
        _require("azure.identity", "azure-identity", "azure")
        self._scope = scope

    def __repr__(self) -> str:
        return f"EntraToken({self._scope!r})"

    def __call__(self) -> Token:
        """A new token. Raises MissingCredentialError."""
        azure: Any = import_module("azure.identity")
        try:
            # Nothing but the stated authority is asked: without this, Microsoft's public one is as well.
            with azure.DefaultAzureCredential(
                disable_instance_discovery=True,
                connection_timeout=CONNECT_S,
                read_timeout=ANSWER_S,
                retry_total=0,
            ) as credential:
                token = credential.get_token(self._scope)
        except Exception as error:  # noqa: BLE001  the library raises errors of several packages
            raise _no_token("Entra", error) from None
        return Token(token.token, token.expires_on * 1_000 - _clock.now_ms())


class GoogleToken:
    """A token of Google, by ``google.auth.default``: by the file in ``GOOGLE_APPLICATION_CREDENTIALS`` (a
    service account, a user, or an external account), else by gcloud's own, else by the metadata server of the
    machine.

    ``scope``: what the token is for. Raises MissingExtraError without ``tieline[google]``; a call raises
    MissingCredentialError. Calls block as those of ``EntraToken`` do.
    """

    def __init__(self, scope: str = GOOGLE_SCOPE) -> None:
        _require("google.auth", "google-auth", "google")
        _require("requests", "requests", "google")
        self._scope = scope

    def __repr__(self) -> str:
        return f"GoogleToken({self._scope!r})"

    def __call__(self) -> Token:
        """A new token. Raises MissingCredentialError."""
        google: Any = import_module("google.auth")
        sender = import_module("google.auth.transport.requests").Request()
        request = partial(sender, timeout=(CONNECT_S, ANSWER_S), allow_redirects=False)
        try:
            credentials, _project = google.default(scopes=[self._scope], request=request)
            credentials.refresh(request)
        except Exception as error:  # noqa: BLE001  the library raises errors of several packages
            raise _no_token("Google", error) from None
        finally:
            sender.session.close()
        left = credentials.expiry.replace(tzinfo=UTC) - datetime.fromtimestamp(_clock.now_ms() / 1_000, UTC)
        return Token(credentials.token, round(left.total_seconds() * 1_000))


def _require(module: str, package: str, extra: str) -> None:
    try:
        is_installed = find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent
        is_installed = False
    if not is_installed:
        raise MissingExtraError(package, extra)


def _no_token(provider: str, error: Exception) -> MissingCredentialError:
    codes = ", ".join(dict.fromkeys(_CODES.findall(str(error))))
    return MissingCredentialError(
        f"{provider} gave no token: {type(error).__name__}{f' ({codes})' if codes else ''}"
    )
