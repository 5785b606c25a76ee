"""Run by test_client_uploads: ``python upload_child.py sync|async sdk|form|stream TABLE FILE``.

Uploads the file once and prints one JSON line: what the answer says, the attempts that it took, and by how
many KiB the largest memory of this process has grown meanwhile.

- ``sdk``: an open file, by ``files.create`` of the openai SDK.
- ``form``: an open file in a form of httpx2 that names a model.
- ``stream``: bytes that are made on the way, which nobody could make a second time.
"""

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
from openai import AsyncOpenAI, OpenAI

import tieline

PLACE: dict[str, Any] = {"workload": "chat", "origin": "eu"}
PIECE_BYTES = 64 * 1024
BINARY = {"content-type": "application/octet-stream"}


def peak_kib() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def pieces_of(path: Path) -> Iterator[bytes]:
    """The file's bytes, once."""
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


async def async_pieces_of(path: Path) -> AsyncIterator[bytes]:
    """As ``pieces_of``."""
    for piece in pieces_of(path):
        yield piece


def form(path: Path) -> dict[str, Any]:
    """The arguments of a post that transcribes the file."""
    return {"data": {"model": "chat-large"}, "files": {"file": ("a.wav", path.open("rb"))}}


def upload_sync(kind: str, table: Path, path: Path) -> httpx2.Response:
    """The answer."""
    with tieline.Client(table, **PLACE) as client:
        assert client.ready(60)
        http = client.http_client()
        with OpenAI(api_key="x", base_url=client.base_url, http_client=http, max_retries=0) as llm:
            if kind == "sdk":
                with path.open("rb") as file:
                    raw = llm.files.with_raw_response.create(file=file, purpose="batch")
                return raw.http_response
            if kind == "form":
                return http.post(f"{client.base_url}/audio/transcriptions", **form(path))  # type: ignore[no-any-return]
            return http.post(f"{client.base_url}/files", content=pieces_of(path), headers=BINARY)  # type: ignore[no-any-return]


async def upload_async(kind: str, table: Path, path: Path) -> httpx2.Response:
    """The answer."""
    async with tieline.offline(table, **PLACE) as client:
        assert await client.ready(60)
        http = client.http_client()
        async with AsyncOpenAI(api_key="x", base_url=client.base_url, http_client=http, max_retries=0) as llm:
            if kind == "sdk":
                with path.open("rb") as file:
                    raw = await llm.files.with_raw_response.create(file=file, purpose="batch")
                return raw.http_response
            if kind == "form":
                return await http.post(f"{client.base_url}/audio/transcriptions", **form(path))  # type: ignore[no-any-return]
            url, content = f"{client.base_url}/files", async_pieces_of(path)
            return await http.post(url, content=content, headers=BINARY)  # type: ignore[no-any-return]


def main(mode: str, kind: str, table: Path, path: Path) -> None:
    """Uploads and prints."""
    before_kib = peak_kib()
    if mode == "sync":
        answer = upload_sync(kind, table, path)
    else:
        answer = asyncio.run(upload_async(kind, table, path))
    report = {
        "status": answer.status_code,
        "attempts": answer.headers.get("x-tieline-attempts"),
        "grown_kib": peak_kib() - before_kib,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
