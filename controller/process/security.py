"""TLS and passwords of Kafka and Redis: from the environment and from files, never from flags, which others
on the machine can read.

Kafka: TIELINE_KAFKA_TLS=1, _CA_FILE, _CERT_FILE and _KEY_FILE (a certificate of our own), _SASL (the
mechanism), _USER, _PASSWORD or _PASSWORD_FILE. Redis: rediss:// in its URL, then TIELINE_REDIS_CA_FILE,
_CERT_FILE, _KEY_FILE, _USER, _PASSWORD or _PASSWORD_FILE.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from controller.process.errors import SettingError
from tieline.kafka import MECHANISMS, PLAIN, SCRAM_512, Brokers

SECRET_MAX_BYTES = 64 * 1024
TRUE, FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


def brokers(servers: str, environment: Mapping[str, str], prefix: str) -> str | Brokers:
    """``servers`` with whatever the variables under ``prefix`` say; the text alone where they say nothing.

    Raises SettingError that names the variable.
    """
    told = _Told(environment, prefix)
    tls = is_set(told.value("_TLS"), prefix + "_TLS") or any(map(told.value, ("_CA_FILE", "_CERT_FILE")))
    mechanism, user, password = told.value("_SASL").upper(), told.value("_USER"), told.secret("_PASSWORD")
    if not tls and not mechanism and not user and not password:
        return servers
    if mechanism and mechanism not in MECHANISMS:
        raise SettingError(f"{prefix}_SASL: {mechanism!r} is none of {', '.join(MECHANISMS)}")
    if bool(mechanism) != bool(user) or bool(mechanism) != bool(password):
        raise SettingError(
            f"{prefix}_SASL, {prefix}_USER and {prefix}_PASSWORD (or {prefix}_PASSWORD_FILE) go together: "
            "set all three or none"
        )
    if mechanism == PLAIN and not tls:
        raise SettingError(
            f"{prefix}_SASL=PLAIN would send the password unencrypted: set {prefix}_TLS=1, or use {SCRAM_512}"
        )
    return Brokers(servers, _context(told) if tls else None, mechanism, user, password)


def redis_address(url: str, environment: Mapping[str, str], prefix: str) -> str:
    """``url`` with user, password and files of the variables under ``prefix``. Raises SettingError."""
    told = _Told(environment, prefix)
    user, password = told.value("_USER"), told.secret("_PASSWORD")
    files = {
        "ssl_ca_certs": told.file("_CA_FILE"),
        "ssl_certfile": told.file("_CERT_FILE"),
        "ssl_keyfile": told.file("_KEY_FILE"),
    }
    given = {name: str(path) for name, path in files.items() if path is not None}
    if not url or not (user or password or given):
        return url
    parts = urlsplit(url)
    if given and parts.scheme != "rediss":
        raise SettingError(f"{prefix}: files for TLS are given, so the URL must begin with rediss://")
    if password and parts.password:
        raise SettingError(f"{prefix} and {prefix}_PASSWORD(_FILE) each hold a password: keep one")
    _context(told)
    host = parts.netloc.rpartition("@")[2]
    name = user or parts.username or ""
    secret = quote(password, safe="") if password else parts.password or ""
    netloc = f"{quote(name, safe='')}:{secret}@{host}" if name or secret else host
    query = "&".join(filter(None, (parts.query, urlencode(given))))
    return parts._replace(netloc=netloc, query=query).geturl()


def is_set(text: str, name: str) -> bool:
    """1 or 0 in a variable. Raises SettingError."""
    lowered = text.strip().lower()
    if lowered not in TRUE | FALSE:
        raise SettingError(f"{name}: {text!r} is neither 1 nor 0")
    return lowered in TRUE


class _Told:
    """Variables under a prefix."""

    def __init__(self, environment: Mapping[str, str], prefix: str) -> None:
        self._environment = environment
        self.prefix = prefix

    def value(self, suffix: str) -> str:
        return self._environment.get(self.prefix + suffix, "").strip()

    def file(self, suffix: str) -> Path | None:
        """A file that is there and can be read."""
        if not (text := self.value(suffix)):
            return None
        path = Path(text)
        try:
            path.open("rb").close()
        except OSError as error:
            raise SettingError(f"{self.prefix}{suffix}: {path} can't be read: {error.strerror}") from None
        return path

    def secret(self, suffix: str) -> str:
        """Out of the variable, or of the file that ``_FILE`` names, without its last line break."""
        value, path = self._environment.get(self.prefix + suffix, ""), self.file(f"{suffix}_FILE")
        if path is None:
            return value
        if value:
            raise SettingError(f"{self.prefix}{suffix} and {self.prefix}{suffix}_FILE are both set: keep one")
        try:
            text = path.read_bytes()[: SECRET_MAX_BYTES + 1].decode()
        except UnicodeDecodeError:
            raise SettingError(f"{self.prefix}{suffix}_FILE: {path} is not text") from None
        if not text.strip() or len(text) > SECRET_MAX_BYTES:
            raise SettingError(f"{self.prefix}{suffix}_FILE: {path} holds no password")
        return text.removesuffix("\n").removesuffix("\r")


def _context(told: _Told) -> ssl.SSLContext:
    """Trusts the system's authorities, or those of the file alone; the server's name is checked always."""
    authorities, certificate, key = (told.file(suffix) for suffix in ("_CA_FILE", "_CERT_FILE", "_KEY_FILE"))
    try:
        context = ssl.create_default_context(cafile=authorities)
    except (ssl.SSLError, ValueError):
        raise SettingError(f"{told.prefix}_CA_FILE: {authorities} holds no certificates in PEM") from None
    if certificate is None:
        if key is not None:
            raise SettingError(f"{told.prefix}_KEY_FILE needs {told.prefix}_CERT_FILE")
        return context
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, ValueError):
        raise SettingError(
            f"{told.prefix}_CERT_FILE: {certificate} and its key don't fit together, or need a passphrase"
        ) from None
    return context
