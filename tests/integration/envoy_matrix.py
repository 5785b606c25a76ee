"""The real Envoy with a lane for each case of outcomes.md, so that what one case does to a pool is nothing
to the next: Envoy ejects hosts for each lane apart, and each case has a client of its own that hears its
outcomes.

Envoy has what `tieline envoy` makes of this table in one file that it does not watch, as there are more lanes
here than files that one user may watch. So nothing follows the outcomes.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

import tieline
from controller.envoy.bootstrap import BOOTSTRAP
from controller.envoy.collector import OutcomeCollector
from controller.envoy.outcomes import AttemptEnd, RequestEnd, lines_in, read_line
from controller.envoy.receiver import receiving
from controller.envoy.resources import resources
from lab.standins.process import StandinProcess
from tests.integration.enveloped import EnvoyRun, new_run
from tests.integration.matrix_calls import Call
from tests.integration.matrix_drivers import Ask
from tests.integration.matrix_table import Row
from tests.integration.routed import MODEL, SETTINGS, WORKLOAD, infos
from tests.integration.sdk_matrix import SECOND
from tests.unit.controller.envoy.made_plans import plan_of, static
from tests.waiting import until
from tieline._routing.slices import ClientTable
from tieline.proxying import Proxied
from tieline.table import (
    MILLION,
    Generation,
    ModelOffer,
    PoolInfo,
    Route,
    RouteTable,
    Slice,
    Split,
    decode_manifest,
    decode_slice,
    manifest,
    slices,
)

SILENCE_MAX_MS = 2_000  # as outcomes.md says
CALL_MAX_S = 90  # a safety net
LINES_WITHIN_S = 20  # after which a case is tried again
CREDENTIAL, SECRET = "key", "a-key-of-the-pools"


class EnvoyCase(NamedTuple):
    """One cell of the table by one driver. ``origin``: whose lane it has."""

    row: Row
    call: Call
    driver: str
    origin: str

    @property
    def spare_origin(self) -> str:
        """The lane of a second try."""
        return f"{self.origin}-again"

    @property
    def calls(self) -> int:
        """How many are made; the outcome is that of the last."""
        return 2 if self.row.order and self.row.order["kind"] in SECOND else 1


class CaseClient:
    """What `tieline envoy` would know of the pools by one case alone."""

    def __init__(self, part: Slice, origin: str) -> None:
        client = tieline.AsyncClient("redis://127.0.0.1:1", workload=WORKLOAD, origin=origin)
        client.core.router.apply(ClientTable(Generation("l1", 1, 1), {origin: part}))
        self._client = client
        self.collector = OutcomeCollector({WORKLOAD: Proxied(client)})
        self.ends: Counter[type] = Counter()

    @property
    def is_out(self) -> bool:
        """Whether a pool, or its model, is avoided from now on."""
        return any(row["out"] or row["models_out"] for row in self._client.explain()["pools"])


class MatrixEnvoy:
    """A running Envoy and what it says of each case. ``parts``: origin -> slice of the table."""

    def __init__(self, run: EnvoyRun, parts: Mapping[str, Slice]) -> None:
        self._run = run
        self._clients = {origin: CaseClient(part, origin) for origin, part in parts.items()}
        self.unread = 0

    def take(self, message: bytes) -> None:
        """Hands each of Envoy's lines to the client of its case."""
        for line in lines_in(message):
            end = read_line(line)
            client = self._clients.get(end.route.origin) if end is not None else None
            if end is None or client is None:
                self.unread += 1
                continue
            client.collector.take_end(end)
            client.ends[type(end)] += 1

    async def outcome_of(self, case: EnvoyCase, asks: Mapping[str, Ask]) -> str:
        """What became of a case, whether the pool is out afterwards, and whether an SDK asked again by
        itself."""
        call = case.call._replace(marks=(("x-tieline-workload", WORKLOAD), ("x-tieline-origin", case.origin)))
        for _ in range(case.calls):
            async with asyncio.timeout(CALL_MAX_S):
                result = await asks[case.driver](self._run.url, call)
        ends, attempts = self._clients[case.origin].ends, result.rpartition(" ")[2]
        least = int(attempts) if attempts.isdigit() else 0

        def are_read() -> bool:
            return ends[RequestEnd] >= case.calls and ends[AttemptEnd] >= least

        try:
            await until(are_read, LINES_WITHIN_S)
        except AssertionError:
            return f"{result}, and not every line of Envoy's"  # it drops lines that are not taken in time
        result += " out" if self._clients[case.origin].is_out else ""
        asked = ends[RequestEnd]
        return result if asked == case.calls else f"{result}, asked {asked} times"


@asynccontextmanager
async def matrix_envoy(
    running: Mapping[str, StandinProcess], origins: Sequence[str], directory: Path
) -> AsyncIterator[MatrixEnvoy]:
    """Runs as long as the context lasts. All weight is on the faulty pool, the first; what is lost there goes
    to the other."""
    run = new_run(directory)
    (directory / "credentials" / CREDENTIAL).write_text(SECRET)
    wanted = _table(infos(running), origins)
    made = resources(plan_of(wanted), run.places())
    (directory / BOOTSTRAP).write_bytes(static(made, directory, run.front))
    parts = slices(wanted)
    sums = decode_manifest(manifest(wanted, parts, urgent_seq=0)).slices
    by_origin = {route.origin: decode_slice(parts[route.name], sums[route.name]) for route in wanted.routes}
    envoy = MatrixEnvoy(run, by_origin)
    async with receiving(run.front.outcomes, envoy.take):
        await run.start()
        try:
            yield envoy
        finally:
            if run.child is not None:
                await run.child.stop()
    assert envoy.unread == 0


def _table(pools: Sequence[PoolInfo], origins: Sequence[str]) -> RouteTable:
    offer = ModelOffer(MODEL, "big", 128_000, ("tools",), whole_answer_timeout_ms=SILENCE_MAX_MS)
    own = tuple(msgspec.structs.replace(pool, models=(offer,), credential=CREDENTIAL) for pool in pools)
    settings = msgspec.structs.replace(
        SETTINGS, first_token_timeout_ms=SILENCE_MAX_MS, idle_timeout_ms=SILENCE_MAX_MS
    )
    routes = tuple(
        Route(
            WORKLOAD,
            origin,
            "critical",
            split=Split((0, 1), (MILLION, 0)),
            on_loss={"azure": Split((1,), (MILLION,))},
        )
        for origin in sorted(origins)
    )
    return RouteTable(Generation("l1", 1, 1), 1_790_000_000_000, own, routes, settings)
