"""`tieline doctor` on real servers: an installation that is well, one that is broken, and servers away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tests.integration.controllers import Fleet, settings_of, tieline
from tests.integration.ingesting import demand
from tests.integration.replicated import brokers_in, change_topic
from tieline.producer import Producer

NOBODY = "127.0.0.1:9"  # the discard port: nobody listens there


async def doctor(fleet: Fleet, expected: int, **overrides: str) -> list[dict[str, Any]]:
    """Its checks; it must end with this status."""
    ended = await tieline(fleet.settings, "doctor", "--json", **overrides)
    assert ended.status == expected, ended.out + ended.err
    checks: list[dict[str, Any]] = json.loads(ended.out)["checks"]
    return checks


def words(checks: list[dict[str, Any]], level: str) -> str:
    return "\n".join(
        f"{check['subject']}: {check['words']} -> {check['remedy']}"
        for check in checks
        if check["level"] == level
    )


async def test_the_doctor_tells_what_is_well_from_what_is_not(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Each fault is named with its remedy, what could not be looked at is said, and nothing is changed."""
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as fleet:
        before = await doctor(fleet, 1)
        assert f"topics: {prefix}routes is missing -> start a controller once" in words(before, "wrong")
        assert "start a controller once" in words(before, "unknown")

        controller = await fleet.add()
        await controller.until_said("decides now")
        async with Producer(kafka_bootstrap, prefix=fleet.settings.namespace) as producer:
            await producer.send(replace(demand(), flows=(), version="9.9"))
        well = await doctor(fleet, 0)
        topics = len(fleet.settings.topics.all())
        assert words(well, "wrong") == words(well, "unknown") == ""
        for text in (
            f"kafka: {brokers_in(kafka_bootstrap)} brokers answer",
            f"{topics} of {topics} topics are as they should be",
            "redis: version",
            "clocks: the other clocks agree to a second",
            "controllers: epoch ",
            "versions: all controllers have",
            "as published",
        ):
            assert text in words(well, "well")
        for text in (
            "keys: UNSIGNED DEV MODE",
            "only one controller runs",
            "clients by version: 9.9: 1",
        ):
            assert text in words(well, "careful") + words(well, "well")

        await _break_topic(kafka_bootstrap, f"{prefix}routes")
        broken = await doctor(fleet, 1)
        assert "has cleanup.policy=delete and needs compact -> kafka-configs --alter" in words(
            broken, "wrong"
        )
        away = await doctor(fleet, 2, TIELINE_KAFKA=NOBODY)
        assert "kafka: " in words(away, "unknown")
        assert "redis: version" in words(away, "well")
        shown = await tieline(fleet.settings, "doctor", TIELINE_REDIS=f"redis://{NOBODY}/0")
        assert shown.status == 1
        assert "UNKNOWN redis" in shown.out
        assert "-> start it, or correct TIELINE_REDIS" in shown.out


async def _break_topic(bootstrap: str, name: str) -> None:
    await change_topic(bootstrap, name, {"cleanup.policy": "delete", "min.compaction.lag.ms": "3600000"})
