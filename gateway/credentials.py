"""Identities by which a gateway shows pools who it is: Google's, Entra's and Oracle's.

The table names the credential of each pool, and a secret comes from ``TIELINE_CREDENTIAL_<NAME>`` or the file
that ``TIELINE_CREDENTIAL_<NAME>_FILE`` names. What the file of the gateway lists under ``credentials`` goes
before that. The client library asks for a token anew before it expires, and once as soon as a provider
refuses it.
"""

from controller.process.errors import SettingError
from gateway.configuration import CredentialIdentity, GatewayFile
from tieline.credentials import Credential
from tieline.errors import ConfigurationError, MissingExtraError
from tieline.identity_tokens import ENTRA_SCOPE, GOOGLE_SCOPE, EntraToken, GoogleToken
from tieline.request_signing import OciSigner


def credentials_of(file: GatewayFile) -> dict[str, Credential]:
    """What the client library is given, by the names of the policy. Raises ``SettingError`` for an identity
    that can't be had here."""
    credentials: dict[str, Credential] = {}
    for number, entry in enumerate(file.credentials):
        try:
            credentials[entry.name] = _identity(entry.identity)
        except (ConfigurationError, MissingExtraError) as error:
            raise SettingError(f"credentials[{number}] ({entry.name}): {error}") from None
    return credentials


def _identity(identity: CredentialIdentity) -> Credential:
    match identity.kind:
        case "entra":
            return EntraToken(identity.scope or ENTRA_SCOPE)
        case "google":
            return GoogleToken(identity.scope or GOOGLE_SCOPE)
        case "oci":
            return OciSigner.from_file(identity.file, identity.profile)
