"""What a stand-in process serves, from YAML or JSON, checked. Everything but ``read`` is PURE."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from controller.process.errors import UserError
from tieline.event_fields import Name, ProviderId

POOLS_PER_PROCESS_MAX = 200
CONFIG_MAX_BYTES = 1024 * 1024

Milliseconds = Annotated[float, Meta(ge=0, le=600_000)]
PortNumber = Annotated[int, Meta(ge=0, le=65_535)]
TokensPerSecond = Annotated[float, Meta(ge=0, le=1e9)]
Deployment = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")]


class ConfigError(UserError):
    """The configuration can't be used; the message names the place and what is wrong there."""


class Latency(Struct, frozen=True, forbid_unknown_fields=True):
    """How long an answer takes.

    The first token comes after a lognormal time with median ``first_token_ms`` and sigma ``spread``; both
    grow with utilisation (``load.timing``). Every further token takes ``token_ms``.
    """

    first_token_ms: Milliseconds = 250.0
    spread: Annotated[float, Meta(ge=0, le=2)] = 0.25
    load_growth: Annotated[float, Meta(ge=0, le=10)] = 0.5
    token_ms: Milliseconds = 12.0


class PoolConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One pool: one endpoint on one port (0: any free port).

    ``tokens_per_s`` counts prompt and completion together; up to ``burst_s`` seconds of it may be used at
    once. Callers must send ``bearer_key`` as a Bearer token or in the header ``api-key``; with None they need
    no key. ``concurrency_max`` limits the requests under way. An answer whose length the caller does not set
    has ``output_tokens_default`` tokens; no answer has more than ``output_tokens_max``. A stream sends
    ``chunk_tokens`` tokens in one event. ``rate_limit_headers``: the shape of the ``x-ratelimit-*`` headers
    of its answers; None for none.
    """

    deployment: Deployment
    models: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(min_length=1)]
    tokens_per_s: TokensPerSecond
    port: PortNumber = 0
    burst_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    concurrency_max: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    bearer_key: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    latency: Latency = Latency()
    output_tokens_default: Annotated[int, Meta(ge=1, le=100_000)] = 64
    output_tokens_max: Annotated[int, Meta(ge=1, le=100_000)] = 4_096
    chunk_tokens: Annotated[int, Meta(ge=1, le=1_000)] = 8
    rate_limit_headers: Literal["openai", "azure"] | None = None


class KafkaConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to publish capacity; at least every ``interval_s`` seconds, and at once when it changes."""

    bootstrap_servers: Annotated[str, Meta(min_length=1, max_length=2_000)]
    topic_prefix: Annotated[str, Meta(min_length=1, max_length=100)] = "tieline"
    source: Name = "standins"
    interval_s: Annotated[float, Meta(ge=0.1, le=300)] = 5.0


class StandinConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One process: a provider-region, its pools, its log directory.

    ``host``: the address to listen on; other machines reach it only if it is not a loopback address.
    ``log_keep_bytes``: a log that grows longer is set aside as ``.1``, replacing the previous one, and a new
    log begins; with None the log grows without limit. ``admin_port`` 0: any free port. ``seed``: the same
    seed gives the same requests the same latencies and faults. ``time_scale`` multiplies every latency of the
    model (0.1: ten times as fast), but no time that belongs to a fault.
    """

    provider: ProviderId
    region: ProviderId
    pools: Annotated[tuple[PoolConfig, ...], Meta(min_length=1, max_length=POOLS_PER_PROCESS_MAX)]
    log_dir: Annotated[str, Meta(min_length=1)] = "standins-log"
    log_keep_bytes: Annotated[int, Meta(ge=1024 * 1024)] | None = None
    host: Annotated[str, Meta(min_length=1, max_length=253)] = "127.0.0.1"
    admin_port: PortNumber = 0
    seed: int = 1
    time_scale: Annotated[float, Meta(ge=0, le=100)] = 1.0
    kafka: KafkaConfig | None = None

    def pool_id(self, pool: PoolConfig) -> str:
        """provider/region/deployment."""
        return f"{self.provider}/{self.region}/{pool.deployment}"

    @property
    def log_path(self) -> Path:
        """The process's log. Another process with the same configuration appends to the same file."""
        return Path(self.log_dir) / f"{self.provider}-{self.region}.jsonl"


class ReadyInfo(Struct, frozen=True):
    """What a process prints when it is ready: where it can be reached. ``ports``: pool id -> port."""

    pid: int
    provider: str
    region: str
    admin_url: str
    ports: dict[str, int]
    log_path: str


class StandinsFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The file of ``tieline standins FILE`` when it describes several provider-regions, each a process."""

    processes: Annotated[tuple[StandinConfig, ...], Meta(min_length=1, max_length=100)]


def parse(text: str, place: str) -> tuple[StandinConfig, ...]:
    """Reads YAML or JSON text: one process, or several under ``processes``. ``place`` names it in errors.

    Raises ConfigError.
    """
    raw = _load(text, place)
    several = isinstance(raw, dict) and "processes" in raw
    kind: Any = StandinsFile if several else StandinConfig
    try:
        content = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{place}: {error}") from None
    configs = content.processes if several else (content,)
    _check(configs, place)
    return configs


def read(path: Path) -> tuple[StandinConfig, ...]:
    """Reads a file of at most one mebibyte. Raises ConfigError, also when it can't be read."""
    try:
        if path.stat().st_size > CONFIG_MAX_BYTES:
            raise ConfigError(f"{path} has more than {CONFIG_MAX_BYTES} bytes: this is no configuration")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from None
    return parse(text, str(path))


def _load(text: str, place: str) -> Any:
    if text.lstrip().startswith("{"):  # JSON, as ``process`` writes it, spares the child the import of yaml
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{place} is not JSON: {error}") from None
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{place}{line} is not YAML: {getattr(error, 'problem', None) or error}") from None


def _check(configs: tuple[StandinConfig, ...], place: str) -> None:
    regions = [f"{config.provider}/{config.region}" for config in configs]
    for region in sorted({region for region in regions if regions.count(region) > 1}):
        raise ConfigError(f"{place} describes {region} twice: put its pools into one process")
    for config in configs:
        deployments = [pool.deployment for pool in config.pools]
        if len(set(deployments)) != len(deployments):
            raise ConfigError(
                f"{place}: {config.provider}/{config.region} names a deployment twice: rename one of them"
            )
