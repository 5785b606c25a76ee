"""What a stand-in process serves: typed, checked, from YAML or JSON. Pure apart from ``read``."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tieline.events import Name, ProviderId

POOLS_PER_PROCESS_MAX = 200
CONFIG_MAX_BYTES = 1024 * 1024

Milliseconds = Annotated[float, Meta(ge=0, le=600_000)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
TokensPerSecond = Annotated[float, Meta(ge=0, le=1e9)]
Deployment = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")]


class ConfigError(ValueError):
    """The configuration can't be used; the message is one sentence that names place and fault."""


class Latency(Struct, frozen=True, forbid_unknown_fields=True):
    """How long an answer takes.

    The first token comes after a lognormal time with median ``first_token_ms`` and sigma ``spread``; both
    grow with utilisation (``latency.timing``). Every further token takes ``token_ms``.
    """

    first_token_ms: Milliseconds = 250.0
    spread: Annotated[float, Meta(ge=0, le=2)] = 0.25
    load_growth: Annotated[float, Meta(ge=0, le=10)] = 0.5
    token_ms: Milliseconds = 12.0


class PoolConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One pool: one endpoint on one port (0: a free one).

    ``tokens_per_s`` counts prompt and completion together; up to ``burst_s`` seconds of it may be used at
    once. ``bearer_key`` is what callers must show, as Bearer token or ``api-key`` header; None: none needed.
    """

    deployment: Deployment
    models: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(min_length=1)]
    tokens_per_s: TokensPerSecond
    port: Port = 0
    burst_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    concurrency_max: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    bearer_key: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    latency: Latency = Latency()
    output_tokens_default: Annotated[int, Meta(ge=1, le=100_000)] = 64
    output_tokens_max: Annotated[int, Meta(ge=1, le=100_000)] = 4_096
    chunk_tokens: Annotated[int, Meta(ge=1, le=1_000)] = 8


class KafkaConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to publish capacity, and how often at the least."""

    bootstrap_servers: Annotated[str, Meta(min_length=1, max_length=2_000)]
    topic_prefix: Annotated[str, Meta(min_length=1, max_length=100)] = "tieline"
    source: Name = "standins"
    interval_s: Annotated[float, Meta(ge=0.1, le=300)] = 5.0


class StandinConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One process: a provider-region, its pools, its log directory.

    ``host``: where to listen; other machines reach it only if it is not a loopback address.
    ``log_keep_bytes``: a longer log begins anew and its last part is kept beside it as ``.1``; None: never.
    ``time_scale`` multiplies every latency of the model (0.1: ten times as quick), never a fault's own times.
    """

    provider: ProviderId
    region: ProviderId
    pools: Annotated[tuple[PoolConfig, ...], Meta(min_length=1, max_length=POOLS_PER_PROCESS_MAX)]
    log_dir: Annotated[str, Meta(min_length=1)] = "standins-log"
    log_keep_bytes: Annotated[int, Meta(ge=1024 * 1024)] | None = None
    host: Annotated[str, Meta(min_length=1, max_length=253)] = "127.0.0.1"
    admin_port: Port = 0
    seed: int = 1
    time_scale: Annotated[float, Meta(ge=0, le=100)] = 1.0
    kafka: KafkaConfig | None = None

    def pool_id(self, pool: PoolConfig) -> str:
        """provider/region/deployment."""
        return f"{self.provider}/{self.region}/{pool.deployment}"

    @property
    def log_path(self) -> Path:
        """The process's log; a process started again goes on with the same file."""
        return Path(self.log_dir) / f"{self.provider}-{self.region}.jsonl"


class ReadyInfo(Struct, frozen=True):
    """Where a process that is ready can be reached; ``ports`` by pool id."""

    pid: int
    provider: str
    region: str
    admin_url: str
    ports: dict[str, int]
    log_path: str


class StandinsFile(Struct, frozen=True, forbid_unknown_fields=True):
    """What ``tieline standins FILE`` reads: several processes, one for each provider-region."""

    processes: Annotated[tuple[StandinConfig, ...], Meta(min_length=1, max_length=100)]


def parse(text: str, place: str) -> tuple[StandinConfig, ...]:
    """YAML or JSON text of one process, or of several under ``processes``. Raises ConfigError."""
    raw = _load(text, place)
    several = isinstance(raw, dict) and "processes" in raw
    kind: Any = StandinsFile if several else StandinConfig
    try:
        read = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{place}: {error}.") from None
    configs = read.processes if several else (read,)
    _check(configs, place)
    return configs


def read(path: Path) -> tuple[StandinConfig, ...]:
    """The configuration in a file. Raises ConfigError, also when it can't be read."""
    try:
        if path.stat().st_size > CONFIG_MAX_BYTES:
            raise ConfigError(
                f"{path} is larger than {CONFIG_MAX_BYTES} bytes, too large for a configuration."
            )
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}.") from None
    return parse(text, str(path))


def _load(text: str, place: str) -> Any:
    if text.lstrip().startswith("{"):  # what a spawner sends; spares the child the import of yaml
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{place} is not JSON: {error}.") from None
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{place}{line}: not YAML: {getattr(error, 'problem', None) or error}.") from None


def _check(configs: tuple[StandinConfig, ...], place: str) -> None:
    regions = [(config.provider, config.region) for config in configs]
    if len(set(regions)) != len(regions):
        raise ConfigError(f"{place}: a provider-region is named twice; give each one process.")
    for config in configs:
        deployments = [pool.deployment for pool in config.pools]
        if len(set(deployments)) != len(deployments):
            raise ConfigError(f"{place}: {config.provider}/{config.region} names a deployment twice.")
