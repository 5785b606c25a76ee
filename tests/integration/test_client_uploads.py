"""Large uploads: never in memory as a whole, and sent again byte for byte."""

import asyncio
import hashlib
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.routed import ORIGIN, WORKLOAD, pool_info, table
from tieline._tables.last_good import write_last_good
from tieline.table import slices

CHILD = Path(__file__).with_name("upload_child.py")
UPLOAD_BYTES = 200 * 1024 * 1024
GROWTH_MAX_KIB = 64 * 1024
RUN_MAX_S = 400
READ_BYTES = 1024 * 1024
FIRST_BYTES = 1024
MODEL_PART = re.compile(rb'name="model"\r\n\r\n([^\r]*)\r\n')


class HashingPool:
    """A server that reads each request to its end, keeps the hash of its body, and gives one answer.
    ``models``: the names in the part ``model`` of forms."""

    def __init__(self, status: int) -> None:
        self.digests: list[str] = []
        self.sizes: list[int] = []
        self.models: list[bytes] = []
        self._status = status

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.sizes.append(left)
                data = await reader.readexactly(min(FIRST_BYTES, left))
                self.models += MODEL_PART.findall(data)
                digest = hashlib.sha256(data)
                left -= len(data)
                while left and (data := await reader.read(min(READ_BYTES, left))):
                    left -= len(data)
                    digest.update(data)
                assert not left
                self.digests.append(digest.hexdigest())
                body = json.dumps(self._body()).encode()
                lines = [b"HTTP/1.1 %d X" % self._status, b"content-type: application/json"]
                lines += [b"content-length: %d" % len(body), b"", body]
                writer.write(b"\r\n".join(lines))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _body(self) -> dict[str, Any]:
        if self._status != 200:
            return {"error": {"message": "overloaded", "type": "server_error"}}
        fields = {"id": "file-1", "object": "file", "bytes": 1, "created_at": 1, "filename": "a"}
        return {**fields, "purpose": "batch", "status": "processed", "text": "It flows."}


@asynccontextmanager
async def failing_and_good(path: Path) -> AsyncIterator[tuple[Path, HashingPool, HashingPool]]:
    """A table whose first pool reads the whole upload and then fails, and both pools."""
    pools = HashingPool(503), HashingPool(200)
    servers = [await asyncio.start_server(pool.serve, "127.0.0.1", 0, limit=READ_BYTES) for pool in pools]
    infos = tuple(
        pool_info(name, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        for name, server in zip(("a/r/d", "b/r/d"), servers, strict=True)
    )
    made = table(infos, (999_999, 1))
    write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
    try:
        yield path, *pools
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 200 MiB in which no two MiB are equal."""
    path = tmp_path_factory.mktemp("upload") / "a.wav"
    with path.open("wb") as file:
        for number in range(UPLOAD_BYTES // READ_BYTES):
            file.write(hashlib.sha256(b"%d" % number).digest() * (READ_BYTES // 32))
    return path


async def run_child(*arguments: str) -> dict[str, Any]:
    """What the child says."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), *arguments, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(RUN_MAX_S):
        output, _ = await child.communicate()
    report: dict[str, Any] = json.loads(output)
    return report


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("kind", ["sdk", "form", "stream"])
async def test_a_large_upload_is_sent_again_and_never_held(
    kind: str, mode: str, tmp_path: Path, upload: Path
) -> None:
    """200 MiB go to a pool that fails at their end and then, byte for byte the same, to another one. The
    memory of the caller's process grows by less than a third of that, also where its source can be read only
    once. A form's model is renamed on the way."""
    async with failing_and_good(tmp_path / "routes.bin") as (path, failing, good):
        report = await run_child(mode, kind, str(path), str(upload))
    assert (report["status"], report["attempts"]) == (200, "2")
    assert failing.digests == good.digests != []
    assert failing.sizes == good.sizes
    assert failing.sizes[0] >= UPLOAD_BYTES
    assert failing.models == good.models == ([b"big"] if kind == "form" else [])
    assert report["grown_kib"] < GROWTH_MAX_KIB
