"""Takes in what Envoy says of attempts and requests: the client of each workload hears it as its own."""

from collections.abc import Mapping

from msgspec.structs import replace

from controller.envoy.outcomes import AttemptEnd, OutcomeLineError, RequestEnd, lines_in, read_line
from controller.process.telemetry import logger
from tieline import Outcome, ResultClass
from tieline.proxying import Estimator, Proxied

_SERVED = (ResultClass.OK, ResultClass.CUT)


class OutcomeCollector:
    """``proxied``: the clients by workload. ``lines`` counts what was read, ``refused`` what was not of the
    form that Envoy was told to send, ``strange`` what was about no pool or route of the tables in force."""

    def __init__(self, proxied: Mapping[str, Proxied]) -> None:
        self._proxied = proxied
        self._estimators = {workload: Estimator() for workload in proxied}
        self.lines = self.refused = self.strange = 0
        self._log = logger("envoy")

    def take(self, message: bytes) -> None:
        """One message of Envoy's."""
        try:
            lines = lines_in(message)
        except OutcomeLineError as error:
            self._refuse(error)
            return
        for line in lines:
            self.lines += 1
            try:
                end = read_line(line)
            except OutcomeLineError as error:
                self._refuse(error)
                continue
            if end is not None:
                self.take_end(end)

    def _refuse(self, error: OutcomeLineError) -> None:
        self.refused += 1
        self._log.warning("an outcome can't be read", error=str(error))

    def take_end(self, end: AttemptEnd | RequestEnd) -> None:
        """What one line says; the client of its workload hears it."""
        workload, origin = end.route.workload, end.route.origin
        proxied = self._proxied.get(workload)
        if proxied is None:
            self.strange += 1
        elif isinstance(end, RequestEnd):
            units = self._estimators[workload].expect(end.body_bytes, end.output_tokens_max)
            shed_units = units if end.was_shed else 0.0
            proxied.count(origin, requests=1, units=units, shed=int(end.was_shed), shed_units=shed_units)
        elif end.outcome is not None:
            outcome = replace(end.outcome, units=self._units(end, end.outcome))
            self.strange += not proxied.report(end.pool, outcome, model=end.model, origin=origin)

    def _units(self, end: AttemptEnd, outcome: Outcome) -> float:
        """The load that the pool served, by the usage that the answer names, or else as the client estimates
        it."""
        estimator = self._estimators[end.route.workload]
        if outcome.result not in _SERVED:
            return 0.0
        if end.usage is not None or end.events:
            return estimator.streamed(end.body_bytes, end.usage, end.events)
        return estimator.expect(end.body_bytes, None)
