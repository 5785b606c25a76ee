"""A unit test fails when the code it runs blocks the event loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

PRODUCT = ("tieline", "streams", "controller", "gateway", "picker", "lab")
# Building an HTTP client looks once for the installed libraries. That reads files; no request waits for it.
MAY_BLOCK = ("tieline/_setup/http_clients.py", "http_library")

watcher = BlockBuster(PRODUCT)
for call in watcher.functions.values():
    call.can_block_in(*MAY_BLOCK)


@pytest.fixture(autouse=True, scope="module")
def loop_never_blocks() -> Iterator[None]:
    """Raises BlockingError where product code sleeps or reads a file or a socket inside a running loop."""
    watcher.activate()
    yield
    watcher.deactivate()
