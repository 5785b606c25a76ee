"""Signs requests to Oracle's cloud, which takes a signature in place of a secret.

Each request is signed with an RSA key whose public half the account knows, so that no secret travels. The
scheme is draft-cavage-http-signatures-08, section 2, as Oracle's "Request Signatures" page narrows it:
RSA with SHA-256 over these lines, in this order:

    date: Fri, 27 Nov 2026 09:00:00 GMT
    (request-target): post /openai/v1/chat/completions
    host: inference.generativeai.eu-frankfurt-1.oci.oraclecloud.com
    content-length: 120                            these three with POST, PUT and PATCH only
    content-type: application/json
    x-content-sha256: base64 of the body's SHA-256

A signature holds for one attempt: the model's name differs from pool to pool, and Oracle refuses a date that
is more than five minutes old. One of a 2,048-bit key takes under a millisecond.

For what is not here (instance and resource principals, session tokens) derive a class from
``tieline.credentials.RequestSigner`` and let it call a signer of the oci SDK.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tieline._process import clock as _clock
from tieline.credentials import RequestSigner, RequestToSign
from tieline.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

OCI_FILE = "~/.oci/config"
_KEY_ID_ENTRIES = ("tenancy", "user", "fingerprint")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class OciSigner(RequestSigner):
    """Signs with the API key of a user of Oracle's cloud. Needs the extra ``tieline[oci]``.

    ``key_id``: ``TENANCY_OCID/USER_OCID/FINGERPRINT``. ``private_key``: the RSA key as PEM text, or the path
    of its file. ``passphrase``: of an encrypted key. ``compartment``: the OCID that requests are billed to,
    sent as ``opc-compartment-id``. ``epoch_ms``: the wall clock. Raises ConfigurationError for a key that
    can't be read, MissingExtraError without cryptography.
    """

    def __init__(
        self,
        key_id: str,
        private_key: str | Path,
        *,
        passphrase: str | None = None,
        compartment: str = "",
        epoch_ms: Callable[[], int] = _clock.now_ms,
    ) -> None:
        if not key_id or not key_id.isascii() or '"' in key_id:
            raise ConfigurationError(f"key_id={key_id!r}: expected TENANCY_OCID/USER_OCID/FINGERPRINT")
        self._key_id = key_id
        self._key = _rsa_key(private_key, passphrase)
        self._compartment = compartment
        self._epoch_ms = epoch_ms

    @classmethod
    def from_file(
        cls, file: str | Path = OCI_FILE, profile: str = "DEFAULT", *, compartment: str = ""
    ) -> Self:
        """What a profile of OCI's own configuration file says: ``tenancy``, ``user``, ``fingerprint``,
        ``key_file`` and, for an encrypted key, ``pass_phrase``. Raises as the constructor does, and
        ConfigurationError for a profile that lacks one of them."""
        path, parser = Path(file).expanduser(), ConfigParser(interpolation=None)
        try:
            parser.read_string(path.read_text())
            entries = dict(parser.items(profile))
        except (OSError, UnicodeDecodeError, ConfigParserError) as error:
            raise ConfigurationError(
                f"{path}, profile {profile}: {type(error).__name__}: expected OCI's configuration file"
            ) from None
        for name in (*_KEY_ID_ENTRIES, "key_file"):
            if not entries.get(name):
                raise ConfigurationError(f"{path}, profile {profile}: {name} is missing")
        return cls(
            "/".join(entries[name] for name in _KEY_ID_ENTRIES),
            Path(entries["key_file"]).expanduser(),
            passphrase=entries.get("pass_phrase"),
            compartment=compartment,
        )

    def __repr__(self) -> str:
        return f"OciSigner({self._key_id!r})"

    def sign(self, request: RequestToSign) -> list[tuple[bytes, bytes]]:
        """The headers that the module's text names, and ``authorization`` with their signature."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        date = formatdate(self._epoch_ms() / 1_000, usegmt=True)
        sent, signed = {"date": date}, {"date": date}
        signed["(request-target)"] = f"{request.method.lower()} {request.target}"
        signed["host"] = request.host
        if request.method in _WITH_BODY:
            sent["content-type"] = request.content_type or "application/json"
            sent["x-content-sha256"] = _sha256(request)
            signed["content-length"] = str(request.body_bytes)
            signed |= {name: sent[name] for name in ("content-type", "x-content-sha256")}
        text = "\n".join(f"{name}: {value}" for name, value in signed.items())
        signature = b64encode(self._key.sign(text.encode("latin-1"), PKCS1v15(), SHA256())).decode("ascii")
        sent["authorization"] = (
            f'Signature version="1",algorithm="rsa-sha256",keyId="{self._key_id}",'
            f'headers="{" ".join(signed)}",signature="{signature}"'
        )
        if self._compartment:
            sent["opc-compartment-id"] = self._compartment
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()]


def _sha256(request: RequestToSign) -> str:
    digest = hashlib.sha256()
    for piece in request.body:
        digest.update(piece)
    return b64encode(digest.digest()).decode("ascii")


def _rsa_key(private_key: str | Path, passphrase: str | None) -> "RSAPrivateKey":
    """The key itself. No error repeats any of its text."""
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise MissingExtraError("cryptography", "oci") from None
    is_text = isinstance(private_key, str) and private_key.lstrip().startswith("-----BEGIN")
    place = "private_key" if is_text else f"private_key {private_key}"
    try:
        pem = str(private_key).encode() if is_text else Path(private_key).read_bytes()
        key = load_pem_private_key(pem, passphrase.encode() if passphrase else None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{place}: {type(error).__name__}: expected an RSA key as PEM, and its passphrase if it has one"
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError(f"{place} is not an RSA key")
    return key
