"""Pools for the client's benchmarks: the server `bench._server` in a process of its own, and a table."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tieline._tables.last_good import write_last_good
from tieline.table import Generation, ModelOffer, PoolInfo, Route, RouteTable, Split, slices

MODEL = "chat-large"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Where does it flow?"}]}
PLACE: dict[str, Any] = {"workload": "chat", "origin": "eu"}
PPM = 1_000_000


class Pools:
    """The running pools. ``urls``: the base URL of each, in the order of their behaviours."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._asked: IO[str] = child.stdin
        self._answers: IO[str] = child.stdout
        self.urls = [f"http://127.0.0.1:{port}/v1" for port in self._next()]

    def fall_ill(self) -> None:
        """From now on each pool acts by its behaviour, and counts anew."""
        self._ask("ill")

    def counts(self) -> list[int]:
        """How many requests each pool got since this was asked last."""
        return self._ask("count")

    def _ask(self, word: str) -> list[int]:
        self._asked.write(f"{word}\n")
        self._asked.flush()
        return self._next()

    def _next(self) -> list[int]:
        values: list[int] = json.loads(self._answers.readline())
        return values


@contextlib.contextmanager
def running(*behaviours: str) -> Iterator[Pools]:
    """A pool for each behaviour, all in one process."""
    child = subprocess.Popen(
        [sys.executable, "-m", "bench._server", *behaviours],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Pools(child)
    finally:
        child.terminate()
        child.communicate()


def write_table(path: Path, urls: Sequence[str], weights: Sequence[int] = ()) -> None:
    """A last good table with a pool at each URL. ``weights`` in parts of a million; equal ones by default."""
    offer = (ModelOffer(MODEL, "big"),)
    pools = tuple(PoolInfo(f"p{n % 4}/r{n}/d", "eu", url, models=offer) for n, url in enumerate(urls))
    split = Split(tuple(range(len(urls))), tuple(weights) or (PPM // len(urls),) * len(urls))
    table = RouteTable(Generation("bench", 1, 1), 1, pools, (Route("chat", "eu", "critical", split),))
    write_last_good(path, table.generation, {"eu": slices(table)["chat/eu"]})
