"""What is remembered of each client of one partition, and how far its word counts. Pure.

A report is a claim. What makes it credible is what came before it and what comes with it:

- **Load** counts as far as the client is served: up to ``GROWTH`` times what it is served and has on its way.
  What it offers beyond that is doubtful, first of all what its largest flows offer, and the controller counts
  little of it (core/capacity/demand.py). A client that says it was served more than all pools can give
  together lies, and nothing it saw counts.
- **Outcomes** count in proportion to what the client is known to send: up to ``GROWTH`` times the attempts
  of it that succeeded of late, and ``ATTEMPTS_FREE_PER_S`` more. A client that was never heard before is a
  newcomer for ``NEWCOMER_MS`` and until something succeeds for it. What newcomers saw is summed apart, and
  counts only where no other client is heard.
- **Silence** is not the end of its load. A client that falls silent without its goodbye (state ``off``) may
  go on serving, so its load is counted on as unheard, for at most ``UNHEARD_MAX_MS`` while others are heard.
  A report that was only late takes back what was counted as unheard of the time that it covers, so each
  second holds a client's load once. Time of which a report is missing stays as it was counted.

A process that takes a partition over does not know its clients. It takes those that report within
``TAKE_OVER_MS`` for the ones of its predecessor: they are no newcomers, and what they offer is credible as
far as it is in the load that the stored row shows, from which it is taken off. What is left of that
afterwards is unheard, unless as many clients report as the row counted, those that were silent then included.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from streams.client_load import (
    LATE_MIN_MS,
    Client,
    Estimate,
    Rates,
    Unheard,
    amounts,
    rates_in,
    rates_of,
    smoothed,
    window_s,
)
from streams.credit import Standing, standing
from streams.rows import DemandSecond
from tieline.events import Demand, Flow

CLIENTS_MAX = 50_000
GENERATIONS_MAX = 64
TAKE_OVER_MS = 15_000
UNHEARD_MAX_MS = 3_600_000
UNHEARD_SHARE_MIN = 0.1  # of the inherited load: a smaller rest is noise


class Clients:
    """The clients of one partition.

    ``stored``: the newest whole second of the row that was taken over, with the row's ``generations`` and
    ``silent`` clients.
    """

    def __init__(
        self, stored: DemandSecond | None, generations: dict[str, int], silent: int | None = None
    ) -> None:
        self._known: OrderedDict[str, Client] = OrderedDict()
        self._silent: OrderedDict[str, Client] = OrderedDict()
        self._generations: Counter[str] = Counter()
        self._stored_generations = generations
        self._stored_silent = silent
        self._inherited = rates_of(stored)
        self._inherited_whole = dict(self._inherited)
        self._predecessors = _clients_of(generations, silent)
        self._began_ms = 0
        self._counted_ms = 0
        self._asked_ms = 0
        self._resumed_ms = 0

    def get(self, name: str) -> Client | None:
        """What is remembered of a client that is heard."""
        return self._known.get(name)

    @property
    def generations(self) -> dict[str, int]:
        """Generation of the table in use -> number of clients, for those that most use; the stored ones until
        somebody is heard."""
        if not self._began_ms:
            return self._stored_generations
        ranking = sorted(self._generations.items(), key=lambda item: (-item[1], item[0]))
        return dict(sorted(ranking[:GENERATIONS_MAX]))

    @property
    def silent(self) -> int | None:
        """How many clients are silent without a goodbye; None if a predecessor did not say."""
        if not self._began_ms:
            return self._stored_silent
        if not self._inherited:
            return len(self._silent)
        if self._predecessors is None:
            return None
        return len(self._silent) + max(0, self._predecessors - self._inherited_clients())

    def standing(
        self, event: Demand, flows: Sequence[Flow], at_ms: int, limit_units_per_s: float
    ) -> Standing:
        """How far a report counts. ``flows``: those of it that the policy names; ``limit_units_per_s``: what
        all pools can give together."""
        self._began_ms = self._began_ms or at_ms
        before = self._known.get(event.client)
        is_new = before is None and self._is_new(event.client, at_ms)
        is_taken_over = before is None and not is_new and event.client not in self._silent
        return standing(
            before,
            event,
            flows,
            is_new=is_new,
            at_ms=at_ms,
            limit_units_per_s=limit_units_per_s,
            inherited=self._inherited if is_taken_over else None,
        )

    def remember(
        self,
        event: Demand,
        standing: Standing,
        flows: Iterable[Flow],
        at_ms: int,
        *,
        failing: frozenset[str],
        near_limit: frozenset[str],
        of_its_own: bool,
    ) -> Client:
        """Takes the report in. ``flows``: those that count, each as far as it is credible."""
        before = self._known.pop(event.client, None)
        if before is not None:
            self._drop_generation(before.generation)
        earlier = before or self._silent.pop(event.client, None)
        now = rates_in(flows, window_s(event))
        estimates = before.estimates if before else ()
        since_ms = at_ms if self._is_new(event.client, at_ms) and earlier is None else 0
        if earlier is None and not since_ms:
            self._take_off_inherited(now)
        client = Client(
            incarnation=event.incarnation,
            sequence=event.sequence,
            generation=event.generation,
            heard_ms=at_ms,
            interval_ms=event.interval_ms,
            failing=failing,
            near_limit=near_limit,
            of_its_own=of_its_own,
            known_since_ms=earlier.known_since_ms if earlier else since_ms,
            window_end_ms=event.window_end_ms,
            counted_ms=max(min(at_ms, event.window_end_ms), estimates[-1].second_ms if estimates else 0),
            rates=smoothed(earlier.rates, now, window_s(event)) if earlier else now,
            served=0.0 if standing.lies else standing.served,
            attempts=standing.attempts,
            estimates=estimates,
        )
        if event.state != "off":
            self._known[event.client] = client
            self._generations[client.generation] += 1
        while len(self._known) > CLIENTS_MAX:
            _, oldest = self._known.popitem(last=False)
            self._drop_generation(oldest.generation)
        return client

    def late_load(self, event: Demand, second_ms: int) -> list[Unheard]:
        """What was counted as unheard of the time that this report covers, to be taken back.

        ``second_ms``: the second in which the report is counted. If the report is its client's next one, it
        and those before it cover all seconds until then, else only its own window. A goodbye says that
        nothing comes after it.
        """
        client = self._known.get(event.client)
        if client is None or not client.estimates:
            return []
        is_next = event.window_start_ms - client.window_end_ms < event.interval_ms / 2
        from_ms = 0 if is_next else second_ms - round(window_s(event) * 1_000)
        until_ms = client.counted_ms if event.state == "off" else second_ms
        covered = [row for row in client.estimates if from_ms < row.second_ms <= until_ms]
        later = tuple(row for row in client.estimates if row.second_ms > until_ms)
        self._known[event.client] = client._replace(estimates=later)
        return list(amounts(covered))

    def unheard(self, seconds_ms: Sequence[int], reporting: str) -> Iterator[Unheard]:
        """The load of clients that are silent without a goodbye, since this was last asked.

        ``seconds_ms``: the seconds that are still summed, the oldest first; the last one has just begun.
        ``reporting``: the client whose report has just come.
        """
        until_ms = seconds_ms[-1]
        if until_ms - self._asked_ms > LATE_MIN_MS:
            self._resumed_ms = until_ms  # nobody was heard for a while, and all may report again now
        self._asked_ms = until_ms
        for name, client in list(self._known.items()):
            if client.late_after_ms(self._resumed_ms) > until_ms or name == reporting:
                continue
            estimates = self._estimates(client.rates, client.counted_ms, seconds_ms)
            yield from amounts(estimates)
            if client.silent_after_ms < until_ms:
                self._drop_generation(client.generation)
                client = self._known.pop(name)
                self._silent[name] = client._replace(counted_ms=until_ms, estimates=())
            else:
                summed = [row for row in client.estimates if row.second_ms >= seconds_ms[0]]
                self._known[name] = client._replace(counted_ms=until_ms, estimates=(*summed, *estimates))
        for name, client in list(self._silent.items()):
            if until_ms - client.heard_ms > UNHEARD_MAX_MS or len(self._silent) > CLIENTS_MAX:
                del self._silent[name]
            elif name != reporting:
                yield from amounts(self._estimates(client.rates, client.counted_ms, seconds_ms))
                self._silent[name] = client._replace(counted_ms=until_ms)
        yield from self._unheard_of_predecessor(seconds_ms)

    def _unheard_of_predecessor(self, seconds_ms: Sequence[int]) -> Iterator[Unheard]:
        """What the row showed at the take-over and nobody has reported since."""
        until_ms = seconds_ms[-1]
        from_ms, self._counted_ms = self._counted_ms, until_ms
        age_ms = until_ms - self._began_ms
        if not self._inherited or age_ms <= TAKE_OVER_MS:
            return
        if age_ms > UNHEARD_MAX_MS or self._heard_all_of_predecessor():
            self._inherited = {}
            return
        whole = self._inherited_whole
        rest = {
            key: rate for key, rate in self._inherited.items() if rate[0] > UNHEARD_SHARE_MIN * whole[key][0]
        }
        self._inherited = rest
        from_ms = max(from_ms, self._began_ms + TAKE_OVER_MS)
        yield from amounts(self._estimates(rest, from_ms, seconds_ms))

    def _estimates(self, rates: Rates, from_ms: int, seconds_ms: Sequence[int]) -> list[Estimate]:
        """Load since ``from_ms``, in the seconds that it was in, as far as they are still summed.

        A client is known to be silent only after two reports are missing, and the seconds before must not
        look as if load had gone.
        """
        from_ms = max(from_ms, self._resumed_ms)
        covered = [second_ms for second_ms in seconds_ms if second_ms > from_ms]
        seconds = (seconds_ms[-1] - from_ms) / 1_000
        return [Estimate(second_ms, seconds / len(covered), rates) for second_ms in covered]

    def _heard_all_of_predecessor(self) -> bool:
        """Whether as many clients have reported as it had: then load that is missing has gone down."""
        return self._predecessors is not None and self._inherited_clients() >= self._predecessors

    def _inherited_clients(self) -> int:
        """How many clients have reported that were there before this process."""
        clients = (*self._known.values(), *self._silent.values())
        return sum(not client.known_since_ms for client in clients)

    def _is_new(self, name: str, at_ms: int) -> bool:
        return name not in self._silent and at_ms - self._began_ms >= TAKE_OVER_MS

    def _take_off_inherited(self, rates: Rates) -> None:
        for key, (units, requests) in rates.items():
            if (left := self._inherited.get(key)) is not None:
                self._inherited[key] = (max(0.0, left[0] - units), max(0.0, left[1] - requests))

    def _drop_generation(self, generation: str) -> None:
        self._generations[generation] -= 1
        if self._generations[generation] <= 0:
            del self._generations[generation]


def _clients_of(generations: dict[str, int], silent: int | None) -> int | None:
    """How many clients a stored row had, silent ones included; None if it doesn't say or lists a part."""
    if silent is None or len(generations) >= GENERATIONS_MAX:
        return None
    return sum(generations.values()) + silent
