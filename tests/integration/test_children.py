"""The lab's child processes: real programs, real signals, real deaths of their parents."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from lab.children import Child
from lab.errors import ChildError
from tests.processes import parent_of, runs
from tests.waiting import until, until_sync

READY = "ready"
SERVES = "import signal; print('ready', flush=True); signal.pause()"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVES}"

PARENT = """
import asyncio, os, signal, sys, threading
from pathlib import Path
from lab.children import Child

async def start():
    return await Child.start("orphan", [sys.executable, "-c", sys.argv[2]], log=Path(sys.argv[1]))

thread = threading.Thread(target=lambda: children.append(asyncio.run(start())))
children = []
thread.start()
thread.join()
children[0].pause()
print(children[0].pid, flush=True)
signal.pause()
"""


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[[str], Coroutine[Any, Any, Child]]]:
    """Starts Python programs that end with the test."""
    children: list[Child] = []

    async def start_program(program: str) -> Child:
        log = tmp_path / f"{len(children)}.log"
        children.append(await Child.start("the program", [sys.executable, "-c", program], log=log))
        return children[-1]

    yield start_program
    for child in children:
        await child.kill()


def is_ready(child: Child) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def has_said_so() -> bool:
        return READY in child.output()

    return has_said_so


Start = Callable[[str], Coroutine[Any, Any, Child]]


async def test_an_end_is_reported_as_it_was(start: Start) -> None:
    """The exit status of a program, or the signal that killed it, reaches whoever waits for it."""
    assert await (await start("raise SystemExit(3)")).wait() == 3
    killed = await start(SERVES)
    os.kill(killed.pid, signal.SIGKILL)
    assert await killed.wait() == -signal.SIGKILL
    assert not killed.running


async def test_output_counts_from_the_start_of_this_life(tmp_path: Path) -> None:
    """A second life appends to the log of the first, and sees only what it wrote itself."""
    log = tmp_path / "log"
    for word in ("first", "second"):
        child = await Child.start(word, [sys.executable, "-c", f"print('{word}')"], log=log)
        await child.until_done(within_s=60)
        assert child.output() == f"{word}\n"
    assert log.read_text() == "first\nsecond\n"


async def test_a_program_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    """The error names the child, the program and the reason."""
    with pytest.raises(ChildError, match=r"^Kafka could not be started: /no/java: No such file"):
        await Child.start("Kafka", ["/no/java"], log=tmp_path / "log")


async def test_an_end_before_readiness_has_the_last_words(start: Start) -> None:
    """A program that fails at its start is reported with its status and what it wrote last."""
    child = await start("raise SystemExit('the port is taken')")
    with pytest.raises(
        ChildError, match="the program ended with status 1 before it was ready: the port is taken"
    ):
        await child.until_ready(is_ready(child), within_s=60)


async def test_a_program_that_is_never_ready_is_killed(start: Start) -> None:
    """When its time is over the program is gone, and the error says how long it had."""
    child = await start(SERVES.replace(READY, "loading"))
    await until(lambda: "loading" in child.output())
    with pytest.raises(ChildError, match=r"the program was not ready within 0\.1 s: loading"):
        await child.until_ready(is_ready(child), within_s=0.1)
    assert not runs(child.pid)


async def test_work_that_fails_or_lasts_too_long_is_an_error(start: Start) -> None:
    """A program that should do one thing and end either succeeds, or is reported and gone."""
    with pytest.raises(ChildError, match="the program ended with status 2"):
        await (await start("raise SystemExit(2)")).until_done(within_s=60)
    endless = await start(SERVES)
    with pytest.raises(ChildError, match=r"the program took more than 0\.1 s"):
        await endless.until_done(within_s=0.1)
    assert not runs(endless.pid)


async def test_stop_ends_also_the_paused_and_the_deaf(start: Start) -> None:
    """SIGTERM reaches a paused program; SIGKILL follows where SIGTERM is ignored; a dead one stays dead."""
    paused, deaf = await start(SERVES), await start(IGNORES_SIGTERM)
    for child in (paused, deaf):
        await child.until_ready(is_ready(child), within_s=60)
    paused.pause()
    assert await paused.stop() == -signal.SIGTERM
    assert await paused.stop() == -signal.SIGTERM
    assert await deaf.stop(within_s=0.1) == -signal.SIGKILL


def test_a_child_outlives_the_loop_that_started_it(tmp_path: Path) -> None:
    """It may be started in one event loop and stopped in another."""
    child = asyncio.run(Child.start("it", [sys.executable, "-c", SERVES], log=tmp_path / "log"))
    asyncio.run(child.until_ready(is_ready(child), within_s=60))
    assert asyncio.run(child.stop()) == -signal.SIGTERM


async def test_ctrl_c_at_a_terminal_does_not_reach_a_child(start: Start) -> None:
    """It has a session of its own, so that its parent can end it in an orderly way."""
    assert os.getsid((await start(SERVES)).pid) != os.getsid(0)


def test_a_killed_parent_leaves_no_child(tmp_path: Path) -> None:
    """Also if the child was started from a thread that has ended, and if the child is stopped by SIGSTOP."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log"), SERVES], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    assert runs(pid)
    parent.kill()
    parent.wait()
    until_sync(lambda: not runs(pid), what="the orphan's end")


async def test_a_killed_keeper_leaves_no_child(start: Start) -> None:
    """The process between parent and child may be killed too: Linux then kills the child."""
    child = await start(SERVES)
    os.kill(parent_of(child.pid), signal.SIGKILL)
    await until(lambda: not runs(child.pid), what="the child's end")
    assert not child.running
