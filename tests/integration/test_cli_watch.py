"""`tieline status --watch` on a real terminal: what it shows, what keys do, and how it ends.

One controller serves all of it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from controller.status.following import SPACING_S
from tests.integration.controllers import MAIN, Fleet, environment, settings_of, tieline
from tests.integration.watching import Terminal


async def test_watching_on_a_terminal(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """It follows what happens, sorts, filters, explains, and fits the terminal again when that is resized;
    `q` and signals give the terminal back."""
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as fleet:
        controller = await fleet.add()
        await controller.until_said("decides now")
        variables = environment(fleet.settings)
        async with Terminal(variables, "status", "--watch") as terminal:
            lines = await terminal.until_shown("pool▲", "azure/eastus2/gpt-4o", "q quit")
            assert all(len(line) <= 100 for line in lines)
            assert not terminal.echoes()
            terminal.type("/gcp\r")
            await terminal.until_shown("gcp/us-central1", "filter: gcp", without="azure/eastus2/gpt-4o")
            terminal.type("sr")
            await terminal.until_shown("state▼")
            terminal.type("\x1b[B\r")
            await terminal.until_shown("evidence", "capacity", "esc back")
            terminal.type("\x1b")
            await terminal.until_shown("state▼", without="esc back")
            order = ("freeze", "gcp", "--for", "1h", "--reason", "a drill", "--actor", "kim", "--yes")
            frozen = await tieline(fleet.settings, *order)
            assert frozen.status == 0, frozen.err
            await terminal.until_shown("frozen by kim")
            terminal.resize(60, 12)
            lines = await terminal.until_shown("gcp/us-central1")
            assert len(lines) == 12
            terminal.type("q")
            assert await terminal.until_ended() == 0
            assert terminal.echoes()
            assert terminal.written.endswith(b"\x1b[?25h\x1b[?1049l")
        async with Terminal(variables, "status", "--watch") as terminal:
            await terminal.until_shown("pool▲")
            terminal.send(signal.SIGTERM)
            await terminal.until_ended()
            assert terminal.echoes()
        await _lines_in_a_pipe(variables)


async def _lines_in_a_pipe(variables: dict[str, str]) -> None:
    """Without a terminal it refuses and says what to do; with --json it prints an object at each publication
    and otherwise one a second."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MAIN,
        "status",
        "--watch",
        "--json",
        env=variables,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        objects = [json.loads(await process.stdout.readline()) for _ in range(2)]
    assert objects[1]["at_ms"] - objects[0]["at_ms"] >= 1_000 * SPACING_S
    process.terminate()
    assert await process.wait() == -signal.SIGTERM


async def test_watching_without_a_terminal_is_refused(tmp_path: Path) -> None:
    """One sentence says what to add, and nothing is asked over the network."""
    ended = await tieline(settings_of("127.0.0.1:9", "redis://127.0.0.1:9", "t."), "status", "--watch")
    assert ended.status == 2
    assert "needs a terminal: add --json" in ended.err
