"""What a long-running command reports about itself over HTTP: ``GET /healthz`` for whoever restarts it,
``GET /readyz`` for whoever stops another before it, and ``GET /metrics`` for Prometheus.

It is off unless an address is given. It shows nothing secret and authenticates nobody, so keep the address
inside the network that reads it.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.process.errors import UserError
from controller.process.settings import MONITOR, Address

PREFIX = "tieline_"
SHUTDOWN_S = 0.5


class Figure(NamedTuple):
    """One metric: a value for each value of its label, or without a label one value under ``""``.

    ``name`` has no prefix and, for a counter, no ``_total``.
    """

    name: str
    help: str
    values: Mapping[str, float]
    label: str = ""
    counter: bool = False


class Vitals(NamedTuple):
    """``complaint``: one sentence that says why this process can't do its work now; empty when it can.
    ``unready``: why it could not take over another's work either; empty when it could."""

    complaint: str
    figures: tuple[Figure, ...]
    unready: str = ""


@asynccontextmanager
async def monitored(address: Address | None, vitals: Callable[[], Vitals]) -> AsyncIterator[None]:
    """Answers as long as the context lasts; does nothing without an address.

    Raises UserError when it can't listen there.
    """
    if address is None:
        yield
        return
    runner = web.AppRunner(_application(vitals), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            raise UserError(
                f"{MONITOR}: can't listen on {address.host}:{address.port}: {error.strerror}"
            ) from None
        yield
    finally:
        await runner.cleanup()


def _application(vitals: Callable[[], Vitals]) -> web.Application:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(vitals))

    async def healthz(_request: web.Request) -> web.Response:
        complaint = vitals().complaint
        return web.Response(text=f"{complaint or 'ok'}\n", status=503 if complaint else 200)

    async def readyz(_request: web.Request) -> web.Response:
        complaint, _, unready = vitals()
        why = unready or complaint
        return web.Response(text=f"{why or 'ok'}\n", status=503 if why else 200)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    application = web.Application(client_max_size=1024)
    application.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    return application


class _Figures(Collector):
    """Reads the figures at each request, so that they need not be kept."""

    def __init__(self, vitals: Callable[[], Vitals]) -> None:
        self._vitals = vitals

    def collect(self) -> Iterable[Metric]:
        complaint, figures, _ = self._vitals()
        yield _metric(Figure("healthy", "1 while this process can do its work", {"": float(not complaint)}))
        yield from map(_metric, figures)


def _metric(figure: Figure) -> Metric:
    kind = CounterMetricFamily if figure.counter else GaugeMetricFamily
    labels = [figure.label] if figure.label else []
    metric = kind(PREFIX + figure.name, figure.help, labels=labels)
    for name, value in sorted(figure.values.items()):
        metric.add_metric([name] if figure.label else [], value)
    return metric
