"""What a long-running command tells about itself over HTTP, at the address of ``TIELINE_MONITOR``.

``GET /livez`` is for whoever restarts it: it fails only where a restart would help. ``GET /readyz`` is for
whoever counts on it: it fails while the command can't do its work, or could not take over another's. ``GET
/metrics`` is for Prometheus. Each failure is one sentence that says why, with status 503.

It is off unless an address is given. It shows nothing secret and authenticates nobody, so keep the address
inside the network that reads it. At most ``CONNECTIONS_MAX`` connections are open at once, and one that makes
no request within ``FIRST_REQUEST_WITHIN_S`` is ended.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeAlias

import prometheus_client
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.process.errors import UserError
from controller.process.listening import ConnectionGate
from controller.process.settings import MONITOR, Address

PREFIX = "tieline_"
SHUTDOWN_S = 0.5
CONNECTIONS_MAX = 64
FIRST_REQUEST_WITHIN_S = 10.0
IDLE_S = 75.0  # longer than Prometheus waits between two scrapes
LabelValues: TypeAlias = tuple[str, ...]
HEADERS = {"content-type": CONTENT_TYPE_LATEST}


class Figure(NamedTuple):
    """One family of metrics: a value for each combination of its labels' values, in the order of ``labels``.

    ``name`` has no prefix and, for a counter, no ``_total``. Labels take only values that the policy or this
    program names, so that the number of series has a bound.
    """

    name: str
    help: str
    values: Mapping[LabelValues, float]
    labels: tuple[str, ...] = ()
    counter: bool = False


def single(name: str, help_text: str, value: float) -> Figure:
    """A gauge without labels."""
    return Figure(name, help_text, {(): float(value)})


def labelled(
    name: str, help_text: str, label: str, *, values: Mapping[str, float], counter: bool = False
) -> Figure:
    """A family with one label. ``values`` is by the label's value."""
    by_labels: dict[LabelValues, float] = {(value,): float(number) for value, number in values.items()}
    return Figure(name, help_text, by_labels, labels=(label,), counter=counter)


def histogram(name: str, help_text: str, bounds: Sequence[float]) -> Histogram:
    """A histogram of seconds that its owner observes; ``Vitals`` tell it together with the figures."""
    return Histogram(PREFIX + name, help_text, buckets=bounds, registry=None)


class Vitals(NamedTuple):
    """``unready``: one sentence that says why this process can't do its work now, or could not take over
    another's; empty when it can. ``stuck``: why it should be restarted; empty while a restart would not help.
    """

    unready: str
    figures: tuple[Figure, ...]
    histograms: tuple[Collector, ...] = ()
    stuck: str = ""


@asynccontextmanager
async def monitored(
    address: Address | None,
    vitals: Callable[[], Vitals],
    *,
    connections_max: int = CONNECTIONS_MAX,
    first_request_within_s: float = FIRST_REQUEST_WITHIN_S,
) -> AsyncIterator[None]:
    """Answers as long as the context lasts; does nothing without an address.

    Raises UserError when it can't listen there.
    """
    if address is None:
        yield
        return
    application = _application(vitals)
    runner = web.AppRunner(
        application, access_log=None, keepalive_timeout=IDLE_S, shutdown_timeout=SHUTDOWN_S
    )
    application.middlewares.append(_noting(lambda request: gate.note_request(request)))
    await runner.setup()
    assert runner.server is not None
    gate = ConnectionGate(
        runner.server,
        connections_max=connections_max,
        first_request_within_s=first_request_within_s,
        count=lambda _what: None,
    )
    try:
        async with await _listen(address, gate):
            yield
    finally:
        await runner.cleanup()


async def _listen(address: Address, gate: ConnectionGate) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(gate.connect, address.host, address.port, reuse_address=True)
    except OSError as error:
        raise UserError(
            f"{MONITOR}: can't listen on {address.host}:{address.port}: {error.strerror}"
        ) from None


def _noting(note: Callable[[web.Request], None]) -> Middleware:
    """Middleware that is told of each request before it is answered."""

    @web.middleware
    async def noting(request: web.Request, handler: Handler) -> web.StreamResponse:
        note(request)
        return await handler(request)

    return noting


def _application(vitals: Callable[[], Vitals]) -> web.Application:
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    process = ProcessCollector(namespace=PREFIX.rstrip("_"), registry=None)

    async def livez(_request: web.Request) -> web.Response:
        return _verdict(vitals().stuck)

    async def readyz(_request: web.Request) -> web.Response:
        now = vitals()
        return _verdict(now.stuck or now.unready)

    async def metrics(_request: web.Request) -> web.Response:
        # A large policy has thousands of series: they are written down in a thread, so that no event waits.
        body = await asyncio.to_thread(_text, vitals(), process)
        return web.Response(body=body, headers=HEADERS)

    application = web.Application(client_max_size=1024)
    application.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    return application


def _verdict(complaint: str) -> web.Response:
    return web.Response(text=f"{complaint or 'ok'}\n", status=503 if complaint else 200)


def families_of(now: Vitals) -> list[Metric]:
    """All families of these vitals, as Prometheus reads them."""
    ready = single("ready", "1 while this process can do its work", not (now.unready or now.stuck))
    families = [_family(figure) for figure in (ready, *now.figures)]
    return families + [family for times in now.histograms for family in times.collect()]


def _text(now: Vitals, process: ProcessCollector) -> bytes:
    """All families, and memory and processor time of this process, as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families_of(now)))
    registry.register(process)
    return generate_latest(registry)


class _Families(Collector):
    """Families that were read already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._families


def _family(figure: Figure) -> Metric:
    kind = CounterMetricFamily if figure.counter else GaugeMetricFamily
    family = kind(PREFIX + figure.name, figure.help, labels=figure.labels)
    for values, number in sorted(figure.values.items()):
        family.add_metric(values, number)
    return family
