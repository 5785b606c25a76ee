"""Metrics of a client: Prometheus (``tieline[prometheus]``), OpenTelemetry (``tieline[opentelemetry]``).

``tieline.metrics.prometheus(client)`` or ``tieline.metrics.opentelemetry(client)``, once for each client and
before its first request: counting begins there. Names and meanings are in the README.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from tieline._client import AsyncClient
from tieline._routing.route import Outcome, Target
from tieline._sync import Client
from tieline._totals import FIRST_TOKEN_BOUNDS_S, Family, Totals
from tieline.errors import MissingExtraError

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector, CollectorRegistry

__all__ = ["opentelemetry", "prometheus"]

FIRST_TOKEN = "tieline_client_first_token_seconds"
FIRST_TOKEN_HELP = "From sending to the first real output"


def prometheus(client: AsyncClient | Client, registry: "CollectorRegistry | None" = None) -> "Collector":
    """Register the client's metrics; without ``registry`` at the library's own. Unregister what it returns
    when the client is gone. Raises MissingExtraError without prometheus-client."""
    try:
        from prometheus_client import REGISTRY
        from prometheus_client.registry import Collector
    except ImportError:
        raise MissingExtraError("prometheus-client", "prometheus") from None
    totals = Totals(client)

    class ClientCollector(Collector):
        """Reads the client whenever it is scraped."""

        def collect(self) -> "Iterable[Metric]":
            """Everything as it is now."""
            yield from map(_prometheus_family, totals.families())
            yield _prometheus_histogram(totals)

    collector = ClientCollector()
    (registry if registry is not None else REGISTRY).register(collector)
    return collector


def opentelemetry(client: AsyncClient | Client, provider: "MeterProvider | None" = None) -> None:
    """Make the client's metrics known to a meter provider, without ``provider`` the global one. Raises
    MissingExtraError without opentelemetry-api."""
    try:
        from opentelemetry import metrics
    except ImportError:
        raise MissingExtraError("opentelemetry-api", "opentelemetry") from None
    totals = Totals(client)
    meter = (provider or metrics.get_meter_provider()).get_meter("tieline")

    def observing(name: str) -> Any:
        def observe(_options: "CallbackOptions") -> "Iterable[Observation]":
            for family in totals.families():
                if family.name == name:
                    yield from (metrics.Observation(one.value, dict(one.labels)) for one in family.samples)

        return observe

    for family in totals.families():
        make = meter.create_observable_counter if family.grows else meter.create_observable_gauge
        make(family.name, callbacks=[observing(family.name)], description=family.help)
    first_token = meter.create_histogram(
        FIRST_TOKEN,
        unit="s",
        description=FIRST_TOKEN_HELP,
        explicit_bucket_boundaries_advisory=list(FIRST_TOKEN_BOUNDS_S),
    )

    def ended(target: Target, outcome: Outcome) -> None:
        if outcome.first_token_ms is not None:
            first_token.record(outcome.first_token_ms / 1_000, {"pool": target.pool})

    client.core.router.on_outcome.append(ended)


def _prometheus_family(family: Family) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    names = [name for name, _ in family.samples[0].labels] if family.samples else []
    make = CounterMetricFamily if family.grows else GaugeMetricFamily
    made = make(family.name, family.help, labels=names)
    for sample in family.samples:
        made.add_metric([value for _, value in sample.labels], sample.value)
    return made


def _prometheus_histogram(totals: Totals) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    made = HistogramMetricFamily(FIRST_TOKEN, FIRST_TOKEN_HELP, labels=["pool"])
    bounds = [*map(str, FIRST_TOKEN_BOUNDS_S), "+Inf"]
    for one in totals.first_tokens():
        buckets = list(zip(bounds, accumulate(one.counts), strict=True))
        made.add_metric([one.pool], buckets, one.sum_s)
    return made
