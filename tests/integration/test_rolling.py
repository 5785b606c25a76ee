"""Two controllers are restarted one after the other, with real processes and under load."""

from __future__ import annotations

from pathlib import Path

from lab.demo.command import demo_plan
from lab.demo.continuity import hand_overs
from lab.demo.plan import FAST
from lab.demo.rolling import ReplaceControllers
from lab.demo.run import Run
from tests.integration.test_demo import Quiet


async def test_a_rolling_restart_loses_no_request_and_changes_no_weight(tmp_path: Path) -> None:
    """SIGTERM to each controller in turn, while applications send requests: each ends with status 0, each new
    leader's first table is its predecessor's last one, and every request is answered."""
    run = Run(demo_plan(FAST), tmp_path, Quiet())
    try:
        await run.start()
        await ReplaceControllers((None, None))(run)
        facts = await run.finish()
    finally:
        await run.close()
    assert run.failures == []
    assert len(hand_overs(run.observer.records)) == 2
    assert facts.lost == ()
    assert facts.broken_contracts == ()
    assert facts.succeeded > 0
