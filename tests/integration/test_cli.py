"""The command line from end to end: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.controllers import FORCED, MAIN, POLICY, Fleet, led, settings_of, tieline

ON_THE_SHARED_LOOP = pytest.mark.asyncio(loop_scope="module")
NOBODY = "127.0.0.1:9"  # the discard port: nobody listens there


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def led_fleet(
    kafka_bootstrap: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    """For the tests that leave its controller as it was; they run on the module's loop."""
    async with led(kafka_bootstrap, redis_url, tmp_path_factory.mktemp("led")) as running:
        yield running


@ON_THE_SHARED_LOOP
async def test_drain_shows_in_status_until_undrained(led_fleet: Fleet) -> None:
    """drain waits for the generation that contains it; status says who drained and why; undrain ends it."""
    words = ("--reason", "repair", "--for", "1h", "--actor", "kim", *FORCED)
    drained = await tieline(led_fleet.settings, "drain", "azure/eastus2", *words)
    assert drained.status == 0, drained.err
    assert "UNSIGNED DEV MODE: drain azure/eastus2 until" in drained.out
    assert "published as multicloud-1:" in drained.out
    status = json.loads((await tieline(led_fleet.settings, "status", "--json")).out)
    rows = {row["pool"]: row for row in status["overview"]["pools"]}
    assert rows["azure/eastus2/gpt-4o"]["why"].startswith("drained by kim: repair")
    assert len(rows) == 13
    assert status["unsigned_dev_mode"] is True
    assert status["leader"]["epoch"] >= 0
    assert status["missing"] == []
    back = await tieline(led_fleet.settings, "undrain", "azure/eastus2", "--reason", "repaired")
    assert back.status == 0, back.err
    shown = await tieline(led_fleet.settings, "status", COLUMNS="200")
    assert shown.status in (0, 1), shown.err
    assert "UNSIGNED DEV MODE" in shown.out
    assert "azure/eastus2/gpt-4o" in shown.out
    assert "drained" not in shown.out


@ON_THE_SHARED_LOOP
async def test_status_from_redis_alone(led_fleet: Fleet) -> None:
    """Without Kafka the weights are still shown, what is missing is said, and the exit status is 2."""
    status = await tieline(led_fleet.settings, "status", "--json", TIELINE_KAFKA="")
    assert status.status == 2, "what only Kafka knows is not known"
    said = json.loads(status.out)
    assert sum(row["weight"] for row in said["overview"]["pools"]) > 0
    assert any("TIELINE_KAFKA" in line for line in said["missing"])


@ON_THE_SHARED_LOOP
async def test_unknown_scope_names_the_nearest(led_fleet: Fleet) -> None:
    """A scope that the policy doesn't know is refused before anything is sent."""
    controller = led_fleet._all[0]
    orders = len(controller.said("an order was given"))
    refused = await tieline(led_fleet.settings, "drain", "azzure", "--reason", "x", "--for", "1h")
    assert refused.status == 2
    assert "did you mean azure?" in refused.err
    assert len(controller.said("an order was given")) == orders


async def test_command_nobody_takes_says_what_it_waited_for(fleet: Fleet) -> None:
    """With every controller gone the command is sent, and status 1 says that nobody has answered it."""
    controller = await fleet.add()
    await controller.until_said("decides now")
    await controller.stop()
    words = (*FORCED, "--reason", "x", "--for", "1h", "--within", "1s")
    drained = await tieline(fleet.settings, "drain", "oci", *words)
    assert drained.status == 1
    assert "no controller has answered within 1 s" in drained.err


async def test_signed_mode_refuses_unsigned_commands(fleet: Fleet) -> None:
    """Without the development mode an operator learns why a command can't be given."""
    fleet.settings = strict = replace(fleet.settings, unsigned=False)
    controller = await fleet.add()
    await controller.until_said("decides now")
    refused = await tieline(strict, "drain", "oci", "--reason", "x", "--for", "1h")
    assert refused.status == 2
    assert "--unsigned-dev-mode" in refused.err


@pytest.mark.parametrize(
    ("arguments", "overrides", "expected"),
    [
        (("controller",), {"TIELINE_KAFKA": ""}, "TIELINE_KAFKA is not set"),
        (("controller",), {"TIELINE_KAFKA": NOBODY}, "correct --kafka or TIELINE_KAFKA"),
        (("controller",), {"TIELINE_KAFKA": "nonsense"}, "is not host:port"),
        (("controller",), {"TIELINE_REDIS": "http://user:hunter2@x"}, "is not an address of Redis"),
        (("controller",), {"TIELINE_POLICY": "/nowhere.yaml"}, "/nowhere.yaml"),
        (("controller",), {"TIELINE_NAMESPACE": "a b"}, "TIELINE_NAMESPACE"),
        (("controller", "--replication", "0"), {}, "TIELINE_REPLICATION"),
        (("status",), {"TIELINE_KAFKA": "", "TIELINE_REDIS": ""}, "TIELINE_KAFKA is not set"),
        (("status",), {"TIELINE_KAFKA": NOBODY, "TIELINE_REDIS": f"redis://{NOBODY}"}, "nothing to show"),
        (("drain", "oci", "--reason", "x", "--for", "1h"), {"TIELINE_KAFKA": NOBODY}, "can't be reached"),
        (("drain", "oci", "--reason", "x", "--for", "1h"), {}, "start a controller"),
        (("drain", "oci", "--reason", "x", "--for", "90d"), {}, "at most 30d"),
        (("drain", "oci", "--reason", "", "--for", "1h"), {}, "--reason must not be empty"),
        (("drain", "OCI!", "--reason", "x", "--for", "1h"), {}, "SCOPE is not valid"),
    ],
)
async def test_mistake_is_one_sentence(
    fleet: Fleet, arguments: tuple[str, ...], overrides: dict[str, str], expected: str
) -> None:
    """A user's mistake or an absent server: status 2, a sentence with a remedy, no traceback, no secret."""
    ended = await tieline(fleet.settings, *arguments, **overrides)
    assert ended.status == 2, ended.err
    assert expected in ended.err
    assert "Traceback" not in ended.err
    assert "hunter2" not in ended.err


async def test_policy_mistake_names_file_line_and_field(fleet: Fleet, tmp_path: Path) -> None:
    """The message of the policy's reader reaches the operator as it is."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(POLICY.read_text().replace("geography: jp", "geography: jpp", 1))
    ended = await tieline(fleet.settings, "controller", TIELINE_POLICY=str(wrong))
    assert ended.status == 2
    assert f"{wrong}:" in ended.err
    assert "geography" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("explain", "chat/us"),
        ("drain", "azure", "--for", "5m", "--reason", "x"),
        ("overlay", "show"),
    ],
)
async def test_an_interrupt_ends_without_a_traceback(words: tuple[str, ...]) -> None:
    """^C while servers accept and never answer: the command ends within seconds.

    The status is 130, or 2 where a library reports its connection as broken by then, and that in one line.
    """
    reached = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = {**os.environ, "TIELINE_KAFKA": place, "TIELINE_REDIS": f"redis://{place}"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MAIN, *words, env=settings, stdout=PIPE, stderr=PIPE
        )
        await asyncio.wait_for(reached.wait(), 60)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode in (130, 2)
    assert b"Traceback" not in err
    assert out == b""
    assert err.count(b"\n") == (0 if process.returncode == 130 else 1), err
