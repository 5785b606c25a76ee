"""The faults of outcomes.md, through the real openai SDK and through plain clients, in one environment:

    python sdk_matrix.py TABLE FAULTY_ADMIN_URL OTHER_ADMIN_URL [sample|whole]

All weight is on the faulty pool; the table's ``on_loss`` weights lead to the other. Prints one JSON line for
each case whose outcome is not the one expected, last a line with counts; needs nothing but the client, the
SDK and its HTTP library, so that it runs with any version of them.

The sample has some cells of each row, each by one API and one driver in turn; the whole has everything.
"""

import asyncio
import itertools
import json
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import openai
import openai.resources  # imported late, by two threads at once, it may block them

import tieline
from tests.integration.matrix_calls import CALLS, Call, Driver
from tests.integration.matrix_table import FILE, Row, rows

PLACE: dict[str, Any] = {"workload": "chat", "origin": "eu"}
# These faults strike a request only after another one.
SECOND = frozenset({"stale_connections", "burst"})


UNHARMED = "faulty 1"
FEW = 3
AT_A_TIME = 4  # cases of a row that run side by side
STEP = 7  # it divides no number of pairs, so that in turn each pair is taken


class Case(NamedTuple):
    """One cell of the table by one driver."""

    row: Row
    call: Call
    driver: Driver

    @property
    def expected(self) -> str:
        """What outcomes.md says."""
        return self.row.outcomes[self.call.column]

    @property
    def calls(self) -> int:
        """How many calls are made; the outcome is that of the last."""
        return 2 if self.row.order and self.row.order["kind"] in SECOND else 1


class Reports:
    """Counts the requests that the client was asked for."""

    def __init__(self) -> None:
        self.requests = 0

    def post(self, event: Any) -> bool:
        self.requests += sum(flow.requests for flow in event.flows)
        return True


def drivers() -> list[Driver]:
    """Those that this environment has."""
    sdk = "httpx2" if int(openai.VERSION.split(".")[0]) >= 3 else "httpx"
    plain = [library for library in ("httpx2", "httpx") if find_spec(library) is not None]
    kinds = [(sdk, True), *((library, False) for library in plain)]
    return [Driver(library, is_sdk, is_async) for library, is_sdk in kinds for is_async in (True, False)]


def cases(table: list[Row], *, whole: bool) -> Iterator[Case]:
    """The cases, fault by fault."""
    every, turn = drivers(), itertools.count()
    for number, row in enumerate(table):
        tried = [column for column, expected in row.outcomes.items() if expected != "-"]
        for column in tried if whole else _sample(row, tried, number):
            pairs = [
                (call, driver)
                for driver in every
                for call in CALLS
                if call.column == column and not (driver.is_sdk and call.sdk is None)
            ]
            for call, driver in pairs if whole else [pairs[next(turn) * STEP % len(pairs)]]:
                yield Case(row, call, driver)


def _sample(row: Row, columns: list[str], number: int) -> list[str]:
    """Every second column; or those that the fault of this row is about, where it is about few."""
    about = [column for column in columns if row.outcomes[column] != UNHARMED]
    return about if 0 < len(about) <= FEW else columns[number % 2 :: 2]


def order(method: str, url: str, body: dict[str, Any] | None = None) -> None:
    """To a stand-in's admin port."""
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=60) as answer:
        answer.read()


def set_faults(row: Row, faulty: str, other: str) -> None:
    """Switch on the fault of this row and no other."""
    for url in (faulty, other):
        order("DELETE", f"{url}/faults?")
        if row.order and (row.everywhere or url == faulty):
            order("POST", f"{url}/faults", row.order)


def credentials() -> dict[str, Any]:
    """A source of tokens that are good for an hour, each another one."""
    numbers = itertools.count(1)
    return {"key": lambda: tieline.Token(f"token-{next(numbers)}", 3_600_000)}


async def run_async(path: str, case: Case) -> str:
    """With a client of its own: what one case does to a pool is nothing to the next."""
    reports = Reports()
    async with tieline.AsyncClient(Path(path), **PLACE, kafka=reports, credentials=credentials()) as client:
        assert await client.ready(60), client.status
        async with case.driver.opened(client) as ask:
            for _ in range(case.calls):
                result: str = await ask(case.call)
        result += _outs(client)
    return _counted(result, reports, case)


def run_sync(path: str, case: Case) -> str:
    """As ``run_async``."""
    reports = Reports()
    with tieline.Client(Path(path), **PLACE, kafka=reports, credentials=credentials()) as client:
        assert client.ready(60), client.status
        with case.driver.opened_sync(client) as ask:
            for _ in range(case.calls):
                result = ask(case.call)
        result += _outs(client)
    return _counted(result, reports, case)


def _outs(client: Any) -> str:
    outs = [row for row in client.explain()["pools"] if row["out"] or row["models_out"]]
    return " out" if outs else ""


def _counted(result: str, reports: Reports, case: Case) -> str:
    asked = reports.requests
    return result if asked == case.calls else f"{result}, asked {asked} times"


def outcomes(path: str, row: Row, of_row: list[Case], admin_urls: tuple[str, str]) -> list[str]:
    """What became of each case of a row, some at a time: each has a client of its own, and waits mostly.

    Where the fault remembers earlier requests, one case runs after another, each under a new fault."""

    def ended(case: Case) -> str:
        return asyncio.run(run_async(path, case)) if case.driver.is_async else run_sync(path, case)

    def ended_under_new_fault(case: Case) -> str:
        set_faults(row, *admin_urls)
        return ended(case)

    if of_row[0].calls > 1:
        return [ended_under_new_fault(case) for case in of_row]
    set_faults(row, *admin_urls)
    with ThreadPoolExecutor(AT_A_TIME) as side_by_side:
        return list(side_by_side.map(ended, of_row))


def main(path: str, faulty: str, other: str, extent: str = "sample") -> int:
    """Every case of the sample, or of the whole."""
    wrong = 0
    every = list(cases(rows(FILE.read_text()), whole=extent == "whole"))
    for row, group in itertools.groupby(every, lambda case: case.row):
        of_row = list(group)
        for case, result in zip(of_row, outcomes(path, row, of_row, (faulty, other)), strict=True):
            if result != case.expected:
                wrong += 1
                place = {"fault": row.order, "everywhere": row.everywhere, "column": case.call.column}
                by = {"path": case.call.path, "driver": case.driver.name}
                say({**place, **by, "expected": case.expected, "outcome": result})
    paths, names = {case.call.path for case in every}, {case.driver.name for case in every}
    tried = len({id(case.row) for case in every})
    say({"openai": openai.VERSION, "wrong": wrong, "rows": tried, "paths": len(paths), "drivers": len(names)})
    return int(wrong > 0)


def say(line: dict[str, Any]) -> None:
    """One line of the output."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
