"""The settings of a process: from flags, else from the environment, else from a context (``contexts``). An
error names the setting and the remedy."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from controller.process.connections import brokers, is_set, redis_address
from controller.process.contexts import CONTEXT, FLAGS, Place, place_of
from controller.process.errors import SettingError
from controller.process.private_key import SOURCE_KEY_FILE
from controller.process.roles import Role, read_role
from controller.process.seal import CONTROLLER_KEYS_FILE, SIGNING_KEY_FILE
from tieline.kafka import Brokers
from tieline.keys import Keys
from tieline.redis_address import RedisAddressError, parse_redis
from tieline.topics import PREFIX, Topics, may_be_prefix

KAFKA, REDIS, NAMESPACE = "TIELINE_KAFKA", "TIELINE_REDIS", "TIELINE_NAMESPACE"
POLICY, UNSIGNED, REPLICATION = "TIELINE_POLICY", "TIELINE_UNSIGNED_DEV_MODE", "TIELINE_REPLICATION"
MONITOR, ROLE = "TIELINE_MONITOR", "TIELINE_ROLE"
UNSIGNED_NOTICE = "UNSIGNED DEV MODE"


class Address(NamedTuple):
    """Where the monitor listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that were given; the others are empty or None.

    ``kafka`` is ``host:port[,host:port...]``, with TLS and password if it has any. ``redis`` may hold a
    password: log it through ``telemetry.without_password``. ``context`` names the context that was used, in
    words, and is empty without one. ``signing_key`` and ``controller_keys`` are the files of ``seal``.
    ``source_key`` is the file of the key that a source signs its events with.
    """

    kafka: str | Brokers
    redis: str = field(default="", repr=False)
    namespace: str = PREFIX
    policy: Path | None = None
    unsigned: bool = False
    replication: int = 1
    monitor: Address | None = None
    context: str = ""
    signing_key: Path | None = None
    controller_keys: Path | None = None
    role: Role = Role.BOTH
    source_key: Path | None = None

    @property
    def topics(self) -> Topics:
        """The topics of this namespace."""
        return Topics(self.namespace)

    @property
    def keys(self) -> Keys:
        """The Redis keys of this namespace."""
        return Keys(self.namespace)


def add_stack_arguments(parser: argparse.ArgumentParser, *, follows_current: bool = True) -> None:
    """Adds the flags of every command that reaches Kafka or Redis.

    ``follows_current``: whether it follows the current context of its user; processes that run until they are
    ended don't.
    """
    parser.set_defaults(follows_current=follows_current)
    group = parser.add_argument_group("where Kafka and Redis are")
    group.add_argument("--kafka", metavar="HOST:PORT", help=f"Kafka bootstrap servers (else {KAFKA})")
    group.add_argument(
        "--redis",
        metavar="URL",
        help="Redis or Valkey: redis://host:port/0, redis+sentinel://host:port,host:port/name/0 or "
        f"redis+cluster://host:port,host:port (else {REDIS})",
    )
    group.add_argument(
        "--namespace", metavar="NAME", help=f"prefix of topics and keys (else {NAMESPACE}, else {PREFIX!r})"
    )
    current = ", else the current one" if follows_current else ""
    group.add_argument(
        "--context",
        metavar="NAME",
        help=f"use this context of `tieline context list` (else {CONTEXT}{current})",
    )


def add_monitor_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of every command that runs for long."""
    parser.add_argument(
        "--monitor",
        metavar="HOST:PORT",
        help=f"answer GET /livez, /readyz and /metrics (Prometheus) there (else {MONITOR}, else nowhere)",
    )


def add_unsigned_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that takes orders without a signature."""
    parser.add_argument(
        "--unsigned-dev-mode",
        action="store_true",
        default=None,
        help=f"take operators' orders without a signature; for development only (else {UNSIGNED}=1)",
    )


def add_controller_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds all flags of `tieline controller`."""
    parser.add_argument("--policy", metavar="FILE", help=f"the policy, a YAML file (else {POLICY})")
    parser.add_argument(
        "--replication",
        type=int,
        metavar="N",
        help=f"replicas of the topics that it creates (else {REPLICATION}, else 1; give 3 in production)",
    )
    parser.add_argument(
        "--role",
        choices=tuple(Role),
        help=f"take events in, decide, or both (else {ROLE}, else both); some process must do each",
    )
    add_unsigned_argument(parser)
    add_monitor_argument(parser)
    add_stack_arguments(parser, follows_current=False)


def read_address(text: str) -> Address | None:
    """The address in ``host:port``; None for an empty text. Raises SettingError."""
    if not text.strip():
        return None
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise SettingError(f"{MONITOR}: {text!r} is not host:port, e.g. 127.0.0.1:9464")
    return Address(host.strip("[]"), int(port))


def place_from(args: argparse.Namespace, environment: Mapping[str, str]) -> Place:
    """The environment with what a context adds to it, by what was typed. Raises SettingError."""
    flags = {field: getattr(args, field, None) for field in FLAGS}
    return place_of(flags, environment, follows_current=getattr(args, "follows_current", False))


def read_settings(
    args: argparse.Namespace, environment: Mapping[str, str], *, needs: tuple[str, ...] = (KAFKA, REDIS)
) -> Settings:
    """The settings of one command. ``needs`` names the variables that must be set. Raises SettingError."""

    _refuse_typed_password(getattr(args, "redis", None))
    place = place_from(args, environment)
    environment = place.environment

    def setting(flag: str, variable: str) -> str:
        typed = getattr(args, flag, None)
        return str(typed) if typed is not None else environment.get(variable, "")

    kafka, redis = setting("kafka", KAFKA).strip(), setting("redis", REDIS).strip()
    policy = setting("policy", POLICY).strip()
    for variable, value, flag in (
        (KAFKA, kafka, "kafka"),
        (REDIS, redis, "redis"),
        (POLICY, policy, "policy"),
    ):
        if variable in needs and not value:
            raise SettingError(f"{variable} is not set: give --{flag} or set {variable}{_hint(variable)}")
    return Settings(
        kafka=brokers(_bootstrap(kafka), environment, KAFKA),
        redis=redis_address(_redis_url(redis), environment, REDIS),
        namespace=_namespace(setting("namespace", NAMESPACE) or PREFIX),
        policy=Path(policy) if policy else None,
        unsigned=is_set(setting("unsigned_dev_mode", UNSIGNED), UNSIGNED),
        replication=_replication(setting("replication", REPLICATION) or "1"),
        monitor=read_address(setting("monitor", MONITOR)),
        context=place.words,
        signing_key=_file(environment, SIGNING_KEY_FILE),
        controller_keys=_file(environment, CONTROLLER_KEYS_FILE),
        role=read_role(setting("role", ROLE)),
        source_key=_file(environment, SOURCE_KEY_FILE),
    )


def _refuse_typed_password(redis: str | None) -> None:
    try:
        has_password = bool(redis) and bool(urlsplit(redis or "").password)
    except ValueError:
        return  # the address is refused for what is wrong with it
    if has_password:
        raise SettingError(
            f"--redis: everybody on this machine can read a password there: give it by {REDIS}_PASSWORD_FILE "
            f"(a file) or {REDIS}_PASSWORD, with --redis or {REDIS} without it"
        )


def _file(environment: Mapping[str, str], variable: str) -> Path | None:
    text = environment.get(variable, "").strip()
    return Path(text) if text else None


def _hint(variable: str) -> str:
    if variable == POLICY:
        return ""
    return ", or name a context by --context (`tieline stack` runs both here and prints the settings)"


def _bootstrap(text: str) -> str:
    for part in filter(None, (part.strip() for part in text.split(","))):
        host, _, port = part.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536:
            shown = part.rpartition("@")[2]  # without what may be a password
            raise SettingError(f"{KAFKA}: {shown!r} is not host:port, e.g. localhost:9092")
    return text


def _redis_url(text: str) -> str:
    if not text:
        return text
    try:
        parse_redis(text)
    except RedisAddressError as error:
        raise SettingError(f"{REDIS} is not an address of Redis: {error}") from None
    return text


def _namespace(text: str) -> str:
    if not may_be_prefix(text):
        raise SettingError(
            f"{NAMESPACE}: {text!r} is not valid: give at most 100 letters, digits, '.', '_' or '-'"
        )
    return text


def _replication(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 9:
        raise SettingError(f"{REPLICATION}: {text!r} is not valid: give a whole number from 1 to 9")
    return int(text)
