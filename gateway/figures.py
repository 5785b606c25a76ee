"""What a worker tells Prometheus: its own requests, and what the client of each workload counts."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import tieline
from controller.process.clock import stopwatch_s
from controller.process.monitor import Figure, Vitals, histogram, labelled, single
from gateway.draining import Drain
from gateway.visit import Visit
from tieline import metrics

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Figures:
    """Counts of one worker. ``turned_away``: connections, by why."""

    def __init__(self, clients: Mapping[str, tieline.AsyncClient], drain: Drain) -> None:
        self.turned_away: Counter[str] = Counter()
        self._requests: Counter[tuple[str, ...]] = Counter()
        self._tokens: Counter[tuple[str, ...]] = Counter()
        text = "From a request's head to the end of its response"
        self._seconds = histogram("gateway_request_seconds", text, SECONDS)
        self._drain = drain
        self._clients = _Clients(clients)

    @property
    def requests(self) -> int:
        """How many have ended."""
        return sum(self._requests.values())

    def note(self, visit: Visit) -> None:
        """One request has ended."""
        self._requests[visit.workload, visit.caller, visit.outcome] += 1
        self._seconds.observe(stopwatch_s() - visit.began_s)
        if visit.usage is not None:
            prompt, answer = visit.usage
            self._tokens[visit.workload, visit.caller, "prompt"] += prompt
            self._tokens[visit.workload, visit.caller, "answer"] += answer

    def vitals(self, unready: Callable[[], str]) -> Vitals:
        """Everything as it is now."""
        figures = (
            single("gateway_requests_under_way", "Requests whose response has not ended", len(self._drain)),
            Figure(
                "gateway_requests",
                "Requests, by how they ended",
                self._requests,
                labels=("workload", "caller", "outcome"),
                counter=True,
            ),
            Figure(
                "gateway_tokens",
                "Tokens that answers name",
                self._tokens,
                labels=("workload", "caller", "part"),
                counter=True,
            ),
            labelled(
                "gateway_connections_turned_away",
                "Connections that were closed unserved, by why",
                "why",
                values=self.turned_away,
                counter=True,
            ),
        )
        return Vitals(unready(), figures, (self._seconds, self._clients))


class _Clients(Collector):
    """The metrics of every client, with its workload as the first label."""

    def __init__(self, clients: Mapping[str, tieline.AsyncClient]) -> None:
        self._collectors = {
            workload: metrics.prometheus(client, CollectorRegistry()) for workload, client in clients.items()
        }

    def collect(self) -> Iterable[Metric]:
        """Everything as it is now, each family once."""
        families: dict[str, Metric] = {}
        for workload, collector in self._collectors.items():
            for family in collector.collect():
                empty = Metric(family.name, family.documentation, family.type)
                whole = families.setdefault(family.name, empty)
                for sample in family.samples:
                    labels = {"workload": workload, **sample.labels}
                    whole.add_sample(sample.name, labels, sample.value)
        return families.values()
