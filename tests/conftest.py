"""One Kafka and Valkey per run, embedded or in containers; names of their own for every test; no silent skips
in CI.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import settings

from lab.stack.stack import ClusterStack, Stack
from tests.dealing import dealt
from tests.stacks import CLUSTERS

if TYPE_CHECKING:
    from tests.stacks import RealStack

FOLDERS = ("unit", "property", "scenarios", "contract", "integration", "browser", "packaging")
ON_EITHER = {"stack", "own_stack", "redis_url"}  # fixtures by which a test runs on whichever stack was chosen
skipped_integration = pytest.StashKey[list[str]]()


# A run of the same code tries the same cases, so that a red run means a change. To search for new ones:
# HYPOTHESIS_PROFILE=explore script/test tests/property
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack",
        choices=("embedded", "containers", *CLUSTERS),
        default="embedded",
        help="what Kafka and Valkey run as: one each, one each in containers, or three brokers and Valkey "
        "behind Sentinels or as a cluster; all but the first run only the tests that need one of them",
    )
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write what happens now into scenario files and runbooks; review the diff",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[skipped_integration] = []
    config.pluginmanager.register(SkipWatch(config.stash[skipped_integration]), "skip watch")


class SkipWatch:
    """Notes skipped integration tests where all reports arrive, also those of parallel workers."""

    def __init__(self, skipped: list[str]) -> None:
        self._skipped = skipped

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that is expected to fail is no skipped one."""
        if report.skipped and "integration" in report.keywords and not hasattr(report, "wasxfail"):
            self._skipped.append(report.nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The quick folders first, but for parallel workers what takes long; whatever lies in `integration` or
    `browser` is marked as such."""

    def place(item: pytest.Item) -> int:
        folder = _folder(item.path, config.rootpath)
        return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)

    items.sort(key=place)
    for item in items:
        if _folder(item.path, config.rootpath) in ("integration", "browser"):
            item.add_marker(pytest.mark.integration)
    if config.getoption("stack") != "embedded":
        kept = [item for item in items if ON_EITHER & set(getattr(item, "fixturenames", ()))]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
    if workers := getattr(config, "workerinput", {}).get("workercount"):
        items[:] = dealt([(item.path.name, item) for item in items], workers)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped integration test is a failure: a promise that nobody checked."""
    if os.environ.get("CI") and session.config.stash[skipped_integration] and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if os.environ.get("CI"):
        for name in config.stash[skipped_integration]:
            terminalreporter.write_line(
                f"FAILED {name}: an integration test may not be skipped in CI", red=True
            )


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Iterator[RealStack]:
    """The run's one Kafka and Valkey. Others use it too: don't stop it, take `own_stack` for that."""
    with ThreadPoolExecutor(1) as elsewhere:  # a loop of its own, away from those of the tests
        running = elsewhere.submit(lambda: asyncio.run(_started(pytestconfig))).result()
        yield running
        elsewhere.submit(lambda: asyncio.run(running.stop())).result()


@pytest.fixture
async def own_stack(pytestconfig: pytest.Config) -> AsyncIterator[RealStack]:
    """A Kafka and a Valkey for one test that stops or kills them."""
    async with await _started(pytestconfig) as running:
        yield running


async def _started(config: pytest.Config) -> RealStack:
    chosen = config.getoption("stack")
    if chosen == "embedded":
        return await Stack.start()
    if chosen in CLUSTERS:
        return await ClusterStack.start(redis=chosen)
    from tests.containers import ContainerStack  # loads the Docker client

    return await ContainerStack.start()


@pytest.fixture(scope="session")
def kafka_bootstrap(stack: RealStack) -> str:
    """`host:port` of the run's Kafka."""
    return stack.kafka_bootstrap


@pytest.fixture(scope="session")
def redis_url(stack: RealStack) -> str:
    """URL of the run's Valkey."""
    return stack.redis_url


@pytest.fixture(autouse=True)
def logging_as_found() -> Iterator[None]:
    """A command that runs in the test's own process sets up logging for all of it: not for the next test."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def prefix() -> str:
    """A prefix for this test's topics, groups and keys, used by no other test."""
    return f"t{uuid.uuid4().hex[:12]}."


def _folder(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return parts[1] if len(parts) > 1 else ""
