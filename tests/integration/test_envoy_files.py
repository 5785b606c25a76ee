"""The real Envoy reads every file that is made of random tables. A thousand of them by hand:

ENVOY_TABLES=1000 script/test tests/integration/test_envoy_files.py
"""

import asyncio
import os
from pathlib import Path

from controller.envoy.resources import resources
from tests.unit.controller.envoy.made_plans import places, plan_of, random_table, static
from tools.toolchains import envoy

TABLES = int(os.environ.get("ENVOY_TABLES", "12"))


async def test_envoy_takes_every_table(tmp_path: Path) -> None:
    """Also those with strange names, loss of everything, and every form of address and credential."""
    program = await asyncio.to_thread(envoy)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name in ("azure-eu", "other"):
        (credentials / name).write_text("a secret")
    for seed in range(TABLES):
        directory = tmp_path / f"table-{seed}"
        directory.mkdir()
        made = resources(plan_of(random_table(seed)), places(tmp_path))
        (directory / "static.json").write_bytes(static(made, tmp_path))
        await _validate(program, directory / "static.json", seed)


async def _validate(program: Path, file: Path, seed: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(program), "--mode", "validate", "-c", str(file), "-l", "warning"),
        *("--use-dynamic-base-id", "--concurrency", "1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    text, _ = await process.communicate()
    assert process.returncode == 0, f"table {seed}: {text.decode()[:2_000]}"
