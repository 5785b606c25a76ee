"""How a process reaches Kafka and Redis: addresses, TLS and passwords, and the one kind of Redis client.

TLS and passwords come from variables and files, never from flags, which others on the machine can read.

Kafka: TIELINE_KAFKA_TLS=1, _CA_FILE, _CERT_FILE and _KEY_FILE (this process's own certificate), _SASL (the
mechanism), _USER, _PASSWORD or _PASSWORD_FILE, and for OAUTHBEARER _TOKEN_FILE, which is read anew for each
connection. Redis: rediss:// in its URL, then TIELINE_REDIS_CA_FILE, _CERT_FILE, _KEY_FILE, _USER, _PASSWORD
or _PASSWORD_FILE, and for Sentinels _SENTINEL_USER and _SENTINEL_PASSWORD or _SENTINEL_PASSWORD_FILE.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from controller.process.errors import SettingError
from tieline.errors import ConfigurationError
from tieline.kafka import MECHANISMS, OAUTH, PLAIN, SCRAM_512, Brokers
from tieline.keys import Keys
from tieline.private_files import read_private_file

REDIS_TIMEOUT_S = 2.0
KEEPS_ALL = "noeviction"
SECRET_MAX_BYTES = 64 * 1024
TRUE, FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


def brokers(servers: str, environment: Mapping[str, str], prefix: str) -> str | Brokers:
    """``servers`` with the security that the variables under ``prefix`` name, or alone if they name none.

    Raises SettingError that names the variable.
    """
    variables = _Variables(environment, prefix)
    tls = is_set(variables.value("_TLS"), prefix + "_TLS") or any(
        map(variables.value, ("_CA_FILE", "_CERT_FILE"))
    )
    mechanism, user, password = (
        variables.value("_SASL").upper(),
        variables.value("_USER"),
        variables.secret("_PASSWORD"),
    )
    token_file = variables.file("_TOKEN_FILE")
    if not tls and not mechanism and not user and not password and token_file is None:
        return servers
    if mechanism and mechanism not in MECHANISMS:
        raise SettingError(f"{prefix}_SASL: {mechanism!r} is not known: give one of {', '.join(MECHANISMS)}")
    if (mechanism == OAUTH) != (token_file is not None):
        raise SettingError(f"{prefix}_SASL={OAUTH} and {prefix}_TOKEN_FILE go together: set both or neither")
    has_password = bool(mechanism) and mechanism != OAUTH
    if has_password != bool(user) or has_password != bool(password):
        raise SettingError(
            f"{prefix}_SASL, {prefix}_USER and {prefix}_PASSWORD (or {prefix}_PASSWORD_FILE) go together: "
            f"set all three or none; {OAUTH} has {prefix}_TOKEN_FILE in the place of the last two"
        )
    if mechanism in (PLAIN, OAUTH) and not tls:
        secret = "password" if mechanism == PLAIN else "token"
        raise SettingError(
            f"{prefix}_SASL={mechanism} would send the {secret} unencrypted: set {prefix}_TLS=1"
            + (f", or use {SCRAM_512}" if mechanism == PLAIN else "")
        )
    context = _context(variables) if tls else None
    token = None if token_file is None else lambda: variables.secret("_TOKEN")
    return Brokers(servers, context, mechanism, username=user, password=password, token=token)


def redis_address(url: str, environment: Mapping[str, str], prefix: str) -> str:
    """``url`` with users, passwords and TLS files from the variables under ``prefix``.

    Raises SettingError.
    """
    variables = _Variables(environment, prefix)
    user, password = variables.value("_USER"), variables.secret("_PASSWORD")
    files = {
        "ssl_ca_certs": variables.file("_CA_FILE"),
        "ssl_certfile": variables.file("_CERT_FILE"),
        "ssl_keyfile": variables.file("_KEY_FILE"),
    }
    login = {
        "sentinel_user": variables.value("_SENTINEL_USER"),
        "sentinel_password": variables.secret("_SENTINEL_PASSWORD"),
    }
    options = {name: str(value) for name, value in {**files, **login}.items() if value}
    if not url or not (user or password or options):
        return url
    parts = urlsplit(url)
    if any(files.values()) and not parts.scheme.startswith("rediss"):
        raise SettingError(
            f"{prefix}: files for TLS are given, so the URL must begin with rediss:// or rediss+"
        )
    if any(login.values()) and not parts.scheme.endswith("+sentinel"):
        raise SettingError(
            f"{prefix}_SENTINEL_USER and _PASSWORD need a URL with redis+sentinel:// in {prefix}"
        )
    if password and parts.password:
        raise SettingError(f"{prefix} and {prefix}_PASSWORD(_FILE) each hold a password: remove one of them")
    _context(variables)
    host = parts.netloc.rpartition("@")[2]
    name = user or parts.username or ""
    secret = quote(password, safe="") if password else parts.password or ""
    netloc = f"{quote(name, safe='')}:{secret}@{host}" if name or secret else host
    query = "&".join(filter(None, (parts.query, urlencode(options))))
    return parts._replace(netloc=netloc, query=query).geturl()


def connect_redis(url: str, keys: Keys) -> Any:
    """A client of the server that has ``keys``; see ``tieline.redis_client``. It tries once more where a
    connection is lost; waiting is left to its users."""
    # Imported here, since most commands read their settings through this file and need no Redis.
    from tieline.redis_client import connect

    return connect(url, keys, retries=1, protocol=3)


async def eviction_complaint(redis: Any) -> str:
    """Why this Redis may remove rows by itself when its memory is full; empty if it won't, or can't be asked.

    A row that is removed looks like evidence that never came. Without a limit of memory no policy matters.
    """
    from redis.exceptions import RedisError

    try:
        memory = await redis.info("memory")
    except (RedisError, OSError, TimeoutError):
        return ""
    policy, limit_bytes = memory.get("maxmemory_policy", KEEPS_ALL), int(memory.get("maxmemory", 0))
    if policy == KEEPS_ALL or not limit_bytes:
        return ""
    return (
        f"its maxmemory-policy is {policy} at maxmemory {limit_bytes} bytes, so it removes rows when they "
        f"are full: CONFIG SET maxmemory-policy {KEEPS_ALL}"
    )


def is_set(text: str, name: str) -> bool:
    """Whether a variable says yes (1, true, yes, on) or no (0, false, no, off, nothing).

    Raises SettingError that names the variable.
    """
    lowered = text.strip().lower()
    if lowered not in TRUE | FALSE:
        raise SettingError(f"{name}: {text!r} is not valid: give 1 or 0")
    return lowered in TRUE


class _Variables:
    """The environment variables that begin with one prefix."""

    def __init__(self, environment: Mapping[str, str], prefix: str) -> None:
        self._environment = environment
        self.prefix = prefix

    def value(self, suffix: str) -> str:
        return self._environment.get(self.prefix + suffix, "").strip()

    def file(self, suffix: str) -> Path | None:
        """The file that the variable names, or None. Raises SettingError if it can't be read."""
        if not (text := self.value(suffix)):
            return None
        path = Path(text)
        try:
            path.open("rb").close()
        except OSError as error:
            raise SettingError(f"{self.prefix}{suffix}: {path} can't be read: {error.strerror}") from None
        return path

    def secret(self, suffix: str) -> str:
        """The variable's value, or the text of the file that ``_FILE`` names without its last line break.

        Raises SettingError.
        """
        value, path = self._environment.get(self.prefix + suffix, ""), self.file(f"{suffix}_FILE")
        if path is None:
            return value
        if value:
            raise SettingError(
                f"{self.prefix}{suffix} and {self.prefix}{suffix}_FILE are both set: remove one"
            )
        try:
            text = path.read_bytes()[: SECRET_MAX_BYTES + 1].decode()
        except UnicodeDecodeError:
            raise SettingError(f"{self.prefix}{suffix}_FILE: {path} is not text in UTF-8") from None
        if not text.strip() or len(text) > SECRET_MAX_BYTES:
            raise SettingError(
                f"{self.prefix}{suffix}_FILE: {path} holds no password: write it into the file"
            )
        return text.removesuffix("\n").removesuffix("\r")


def _context(variables: _Variables) -> ssl.SSLContext:
    """Trusts the system's authorities, or only those of the file. Always checks the server's name."""
    authorities, certificate, key = (
        variables.file(suffix) for suffix in ("_CA_FILE", "_CERT_FILE", "_KEY_FILE")
    )
    try:
        context = ssl.create_default_context(cafile=authorities)
    except (ssl.SSLError, ValueError):
        raise SettingError(
            f"{variables.prefix}_CA_FILE: {authorities} holds no certificates in PEM"
        ) from None
    if certificate is None:
        if key is not None:
            raise SettingError(f"{variables.prefix}_KEY_FILE needs {variables.prefix}_CERT_FILE")
        return context
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, ValueError):
        raise SettingError(
            f"{variables.prefix}_CERT_FILE: {certificate} and its key don't fit together, or the key needs "
            "a passphrase: give a key without one"
        ) from None
    try:
        read_private_file(key or certificate)
    except ConfigurationError as error:
        raise SettingError(f"{variables.prefix}_{'KEY' if key else 'CERT'}_FILE: {error}") from None
    return context
