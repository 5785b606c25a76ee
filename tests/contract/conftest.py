"""The suites here need a Redis and no Kafka, so they run where Kafka's jars were never fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.stack.valkey import Valkey


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Valkey of this folder's own, or of the one in the containers that were asked for."""
    if request.config.getoption("stack") == "containers":
        yield request.getfixturevalue("stack").redis_url
        return
    valkey = Valkey(tmp_path_factory.mktemp("valkey"))
    with ThreadPoolExecutor(1) as elsewhere:  # a loop of its own, away from those of the tests
        elsewhere.submit(lambda: asyncio.run(valkey.start())).result()
        yield valkey.url
        elsewhere.submit(lambda: asyncio.run(valkey.kill())).result()
