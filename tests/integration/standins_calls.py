"""Calls to stand-ins and what their logs say of them, for the tests beside this file."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from lab.standins import ledger
from lab.standins.config import Latency, PoolConfig, StandinConfig
from lab.standins.process import StandinProcess
from tests.waiting import until

POOL, KEYED = "azure/uksouth/gpt-4o", "azure/uksouth/keyed"
KEY = "a key that must never be logged"
LATENCY = Latency(first_token_ms=20, spread=0.1, token_ms=1)
LONG_TOKENS = 100_000  # of an answer that takes more than a minute
_ids = itertools.count(1)


def config(log_dir: Path, **more: Any) -> StandinConfig:
    """Two pools of one region, quick, and with more capacity than any test needs."""
    pool = PoolConfig(
        "gpt-4o", ("big", "small"), tokens_per_s=1e6, latency=LATENCY, output_tokens_max=LONG_TOKENS
    )
    keyed = msgspec.structs.replace(pool, deployment="keyed", bearer_key=KEY)
    return StandinConfig("azure", "uksouth", (pool, keyed), log_dir=str(log_dir), **more)


@asynccontextmanager
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client whose time-out is far above any answer's time."""
    async with httpx2.AsyncClient(timeout=60.0) as http:
        yield http


def body(*, model: str = "big", stream: bool = False, tokens: int = 24) -> dict[str, Any]:
    """A chat request."""
    messages = [{"role": "user", "content": "Where does it flow?"}]
    return {"model": model, "messages": messages, "max_tokens": tokens, "stream": stream}


def fresh_id(kind: str) -> str:
    """A request id that no other call has."""
    return f"{kind}-{next(_ids)}"


async def call(
    http: httpx2.AsyncClient, url: str, *, timeout_s: float = 60.0, request_id: str = "", **asked: Any
) -> str:
    """One request; what the caller makes of its answer, in a word."""
    headers = {"x-request-id": request_id or fresh_id("call")}
    target = f"{url}/chat/completions"
    try:
        sending = http.stream("POST", target, json=body(**asked), headers=headers, timeout=timeout_s)
        async with sending as answer:
            text = (await answer.aread()).decode()
    except httpx2.ConnectError:
        return "refused"
    except httpx2.ReadTimeout:
        return "timeout"
    except httpx2.ReadError:
        return "reset"
    except httpx2.RemoteProtocolError:
        return "cut"
    if answer.status_code != 200:
        return f"{answer.status_code} {msgspec.json.decode(text)['error']['code']}"
    if asked.get("stream") and "data: [DONE]" not in text:
        return "error event" if '"error"' in text else "no done"
    return "ok"


def seen_of(process: StandinProcess) -> tuple[ledger.Attempt, ...]:
    """What the process's log says."""
    return ledger.attempts(ledger.parse(process.log_path.read_bytes().splitlines(keepends=True)))


async def logged(process: StandinProcess, request_id: str, outcome: str) -> ledger.Attempt:
    """Wait until the log says that a request ended so (an end that callers don't see comes when it comes)."""

    def found() -> ledger.Attempt | None:
        attempts = [one for one in seen_of(process) if one.id == request_id]
        return attempts[-1] if attempts and attempts[-1].outcome == outcome else None

    attempt = await until(found, what=f"{request_id} logged as {outcome}")
    assert attempt is not None
    return attempt
