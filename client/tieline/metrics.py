"""Metrics of a client: Prometheus (``tieline[prometheus]``), OpenTelemetry (``tieline[opentelemetry]``).

Call ``tieline.metrics.prometheus(client)`` or ``tieline.metrics.opentelemetry(client)`` once for each client
and before its first request: counting begins there. The names and meanings are in the README.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from tieline._client import AsyncClient
from tieline._reports.totals import FIRST_TOKEN_BOUNDS_S, Family, Totals
from tieline._routing.route import Outcome, Target
from tieline._sync import Client
from tieline.errors import MissingExtraError

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector, CollectorRegistry

__all__ = ["opentelemetry", "prometheus"]

FIRST_TOKEN = "tieline_client_first_token_seconds"
FIRST_TOKEN_HELP = "From sending to the first real output"


def prometheus(client: AsyncClient | Client, registry: "CollectorRegistry | None" = None) -> "Collector":
    """Register the client's metrics at ``registry``, by default prometheus_client's own.

    Returns what was registered; unregister it when the client is closed. Raises MissingExtraError without
    prometheus-client.
    """
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
    """Create the client's metrics at a meter provider, by default the global one.

    Raises MissingExtraError without opentelemetry-api.
    """
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
                    for sample in family.samples:
                        yield metrics.Observation(sample.value, dict(sample.labels))

        return observe

    for family in totals.families():
        create = meter.create_observable_counter if family.grows else meter.create_observable_gauge
        create(family.name, callbacks=[observing(family.name)], description=family.help)
    first_token = meter.create_histogram(
        FIRST_TOKEN,
        unit="s",
        description=FIRST_TOKEN_HELP,
        explicit_bucket_boundaries_advisory=list(FIRST_TOKEN_BOUNDS_S),
    )

    def record(target: Target, outcome: Outcome) -> None:
        if outcome.first_token_ms is not None:
            first_token.record(outcome.first_token_ms / 1_000, {"pool": target.pool})

    client.core.router.on_outcome.append(record)


def _prometheus_family(family: Family) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    labels = [name for name, _ in family.samples[0].labels] if family.samples else []
    create = CounterMetricFamily if family.grows else GaugeMetricFamily
    metric = create(family.name, family.help, labels=labels)
    for sample in family.samples:
        metric.add_metric([value for _, value in sample.labels], sample.value)
    return metric


def _prometheus_histogram(totals: Totals) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    metric = HistogramMetricFamily(FIRST_TOKEN, FIRST_TOKEN_HELP, labels=["pool"])
    bounds = [*map(str, FIRST_TOKEN_BOUNDS_S), "+Inf"]
    for histogram in totals.first_tokens():
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        metric.add_metric([histogram.pool], buckets, histogram.sum_s)
    return metric
