"""The demo: real Kafka, real Valkey, real processes, real requests."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from lab.demo.command import demo_plan
from lab.demo.plan import FAST
from lab.demo.run import Run
from lab.demo.scenario import Act, emptied
from tests.processes import descendants, runs
from tests.waiting import until

DEMO = [sys.executable, "-m", "controller.cli", "demo", "--fast"]
VICTIM = "coreweave/us-east-04"  # carries enough that clients themselves prove it dead


class Quiet:
    """Shows nothing."""

    def say(self, text: str) -> None: ...
    def refresh(self, picture: object) -> None: ...
    def close(self) -> None: ...


async def test_requests_move_away_from_a_killed_stand_in_and_none_is_lost(tmp_path: Path) -> None:
    """SIGKILL of a provider's only pool in a region: the table empties it, and every request is answered."""
    run = Run(demo_plan(FAST), tmp_path, Quiet())
    try:
        await run.start()
        await run.wait(
            lambda: run.picture.shares()[f"{VICTIM}/gpt-oss"] > 0.05, 240, "traffic at the pool to be killed"
        )
        await run.act(Act("kill", VICTIM))
        await run.wait(lambda: emptied(VICTIM)(run.picture, 0), 240, "a table without the killed pool")
        # Clients alone prove it dead while they send there. Where the plan had already moved the load
        # elsewhere, the prober is the only one left to notice, and one source alone only degrades.
        ill = ("down", "degraded")
        await run.wait(lambda: run.picture.state(f"{VICTIM}/gpt-oss") in ill, 240, "the pool known as ill")
        await run.wait(lambda: run.picture.outcomes["ok"] > 150, 240, "enough requests")
        found = await run.finish()
    finally:
        await run.close()
    assert found.lost == ()
    assert found.stale == ()
    assert found.broken_contracts == ()
    assert found.succeeded > 150
    assert found.passed


def test_the_demo_passes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Every phase and every fact is shown, the exit status is 0, and no file of it is left."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(DEMO, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for fact in (
        "requests sent",
        "succeeded",
        "shed by policy",
        "lost  ",
        "event to table",
        "tables published",
    ):
        assert fact in done.stdout
    assert re.search(r"^lost +0$", done.stdout, re.MULTILINE)
    departures = re.findall(r"^last request after a fault +([0-9.]+) s \(", done.stdout, re.MULTILINE)
    assert departures, "requests were on their way to what failed, and the callers note each of them"
    assert done.stdout.rstrip().endswith("passed")
    assert "thresholds.hold_down_min_ms: 3000 instead of 30000" in done.stdout
    assert list(tmp_path.glob("tieline-demo-*")) == []


async def test_an_interrupted_demo_ends_every_process(tmp_path: Path) -> None:
    """SIGINT in the middle ends with one sentence and status 130, and no process is left seconds later."""
    demo = await asyncio.create_subprocess_exec(
        *DEMO, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=asyncio.subprocess.PIPE
    )
    assert demo.stdout is not None
    async with asyncio.timeout(300):
        async for line in demo.stdout:
            if b"phase  no faults" in line:
                break
    below = list(descendants(demo.pid))
    assert len(below) > 15
    demo.send_signal(signal.SIGINT)
    rest = await asyncio.wait_for(demo.stdout.read(), 120)
    assert await demo.wait() == 130
    assert b"interrupted; every part has ended" in rest
    await until(lambda: not any(runs(pid) for pid in below), what="the end of every process")


def test_an_unknown_incident_is_one_sentence() -> None:
    """The error lists the incidents that exist, and nothing is started."""
    done = subprocess.run(
        [*DEMO, "--incident", "nope"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("tieline demo: there is no incident nope; there are azure-")
    assert "Traceback" not in done.stderr
