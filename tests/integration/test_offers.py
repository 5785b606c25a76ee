"""Capacity that is asked for, on the real stack: the demo's, with real answers on the topic of offers."""

import json
from dataclasses import replace
from pathlib import Path

from lab.demo.command import offers_plan
from lab.demo.fleet import NAMESPACE
from lab.demo.offering import AskForCapacity, offer_phases
from lab.demo.plan import FAST
from lab.demo.run import Run
from tests.integration.controllers import settings_of, tieline
from tests.integration.test_demo import Quiet
from tests.waiting import until


async def test_capacity_is_asked_for_refused_given_and_counts_from_its_start(tmp_path: Path) -> None:
    """The plan is short; the holder of the first refusal is asked and declines, the others are asked, one
    accepts, and what it gives counts from its start and once. Commands and history tell the same."""
    run = Run(offers_plan(FAST), tmp_path, Quiet())
    try:
        await run.start()
        await run.play(offer_phases(), AskForCapacity())
        assert run.failures == []
        assert [note for note in run.notes if "counted, once" in note]
        record = run.picture.record
        assert record is not None
        assert record.memory is not None
        accepted = next(item for item in record.memory.offers if item.state == "accepted")
        assert [item.answer for item in accepted.providers][:1] == ["declined"]

        settings = settings_of(run.fleet.stack.kafka_bootstrap, run.fleet.stack.redis_url, NAMESPACE)
        settings = replace(settings, policy=run.fleet.policy_path)
        shown = await tieline(settings, "offers", "show", accepted.id, "--json")
        assert json.loads(shown.out)["offers"][0]["state"] == "accepted", shown.err
        refused = await tieline(
            settings, "offers", "decline", accepted.id, "gcp", "--reason", "a drill", "--actor", "kim"
        )
        assert refused.status == 2
        assert "the answer would not count" in refused.err

        async def told() -> list[str]:
            history = await tieline(settings, "history", "--from", "-10m", "--kind", "offer", "--json")
            entries = json.loads(history.out)["entries"]
            texts = [entry["text"] for entry in entries if accepted.id in entry["text"]]
            return texts if any("has ended: accepted" in text for text in texts) else []

        texts = await until(told, what="the end of the request in the history")
        assert any("oci is asked for" in text for text in texts)
        assert any("oci declined" in text for text in texts)
        found = await run.finish()
    finally:
        await run.close()
    assert found.lost == ()
    assert found.broken_contracts == ()
