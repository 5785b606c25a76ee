"""Every fault of the stand-ins, through the real openai SDK and through plain clients, in one environment:

    python sdk_matrix.py TABLE FAULTY_ADMIN_URL OTHER_ADMIN_URL

All weight is on the faulty pool; the table's ``on_loss`` weights lead to the other. Prints one JSON line for
each case whose outcome is not the one expected, last a line with counts; needs nothing but the client, the
SDK and its HTTP library, so that it runs with any version of them.
"""

import asyncio
import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import openai

import tieline

PLACE: dict[str, Any] = {"workload": "chat", "origin": "eu"}
ASK: dict[str, Any] = {"model": "chat-large", "messages": [{"role": "user", "content": "Where to?"}]}
TOKENS = 24


class Case(NamedTuple):
    """``fault`` and its fields, on the faulty pool (``everywhere``: on both). ``whole`` and ``streamed``:
    what must come of it, as ``outcome pool attempts``."""

    fault: str
    fields: dict[str, Any]
    whole: str
    streamed: str
    everywhere: bool = False


OTHER, FAULTY = "ok other 2", "ok faulty 1"
CASES = (
    Case("", {}, FAULTY, FAULTY),
    *(Case(kind, {}, OTHER, OTHER) for kind in ("503", "401", "404", "hang", "refuse", "reset")),
    Case("429", {"retry_after_ms": 60_000}, OTHER, OTHER),
    Case("400", {}, "400 faulty 1", "400 faulty 1"),
    Case("slow_first_token", {"delay_ms": 5_000}, OTHER, OTHER),
    Case("cut", {"after_chunks": 1}, OTHER, "broken faulty 1"),
    Case("end_without_done", {"after_chunks": 1}, FAULTY, "broken faulty 1"),
    Case("error_event", {"after_chunks": 0}, FAULTY, OTHER),
    Case("error_event", {"after_chunks": 0, "error_code": "rate_limit_exceeded"}, FAULTY, OTHER),
    Case("error_event", {"after_chunks": 2}, FAULTY, "error event faulty 1"),
    Case("503", {}, "503 faulty 3", "503 faulty 3", everywhere=True),
    Case("400", {}, "400 faulty 1", "400 faulty 1", everywhere=True),
    Case("refuse", {}, "503 faulty 3", "503 faulty 3", everywhere=True),
)


class Reports:
    """Counts the requests that the client was asked for."""

    def __init__(self) -> None:
        self.requests = 0

    def post(self, event: Any) -> bool:
        self.requests += sum(flow.requests for flow in event.flows)
        return True


def of(outcome: object, headers: Any) -> str:
    """An outcome in a word, with where it came from."""
    pool = "faulty" if headers.get("x-tieline-pool", "").startswith("azure/") else "other"
    return f"{outcome} {pool} {headers.get('x-tieline-attempts', '-')}"


async def sdk_async(client: Any, stream: bool, library: str) -> str:
    """One call of the asynchronous SDK, with the retries that it makes by default."""
    http = client.http_client(library=library)
    async with openai.AsyncOpenAI(api_key="unused", base_url=client.base_url, http_client=http) as llm:
        try:
            raw = await llm.chat.completions.with_raw_response.create(**ASK, max_tokens=TOKENS, stream=stream)
        except openai.APIStatusError as error:
            return of(error.status_code, error.response.headers)
        try:
            answer: Any = raw.parse()
            texts = [answer] if not stream else [chunk async for chunk in answer]
        except (openai.APIConnectionError, import_module(library).TransportError):
            return of("broken", raw.headers)  # 2.x hands on what its HTTP library raises in a stream
        except openai.APIError:
            return of("error event", raw.headers)
        return of("ok" if texts else "nothing", raw.headers)


def sdk_sync(client: Any, stream: bool, library: str) -> str:
    """The same without asyncio."""
    http = client.http_client(library=library)
    with openai.OpenAI(api_key="unused", base_url=client.base_url, http_client=http) as llm:
        try:
            raw = llm.chat.completions.with_raw_response.create(**ASK, max_tokens=TOKENS, stream=stream)
        except openai.APIStatusError as error:
            return of(error.status_code, error.response.headers)
        try:
            answer: Any = raw.parse()
            texts = [answer] if not stream else list(answer)
        except (openai.APIConnectionError, import_module(library).TransportError):
            return of("broken", raw.headers)  # 2.x hands on what its HTTP library raises in a stream
        except openai.APIError:
            return of("error event", raw.headers)
        return of("ok" if texts else "nothing", raw.headers)


def judged(status: int, headers: Any, text: str, stream: bool) -> str:
    """What a plain client was given."""
    if status != 200:
        return of(status, headers)
    if stream and '"error"' in text:
        return of("error event", headers)
    complete = "data: [DONE]" in text if stream else '"choices"' in text
    return of("ok" if complete else "incomplete", headers)


async def raw_async(client: Any, stream: bool, library: str) -> str:
    """A plain asynchronous client. What follows an error event in a stream is not looked at."""
    module, body = import_module(library), {**ASK, "max_tokens": TOKENS, "stream": stream}
    text = ""
    async with (
        client.http_client(library=library, base_url=client.base_url) as http,
        http.stream("POST", "/chat/completions", json=body) as answer,
    ):
        try:
            async for piece in answer.aiter_text():
                text += piece
        except (module.RemoteProtocolError, module.ReadTimeout):
            return of("error event" if '"error"' in text else "broken", answer.headers)
        return judged(answer.status_code, answer.headers, text, stream)


def raw_sync(client: Any, stream: bool, library: str) -> str:
    """The same without asyncio."""
    module, body = import_module(library), {**ASK, "max_tokens": TOKENS, "stream": stream}
    text = ""
    with (
        client.http_client(library=library, base_url=client.base_url) as http,
        http.stream("POST", "/chat/completions", json=body) as answer,
    ):
        try:
            for piece in answer.iter_text():
                text += piece
        except (module.RemoteProtocolError, module.ReadTimeout):
            return of("error event" if '"error"' in text else "broken", answer.headers)
        return judged(answer.status_code, answer.headers, text, stream)


def order(method: str, url: str, body: dict[str, Any] | None = None) -> None:
    """To a stand-in's admin port."""
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=10) as answer:
        answer.read()


def drivers() -> Iterator[tuple[str, Callable[..., Any], bool, str]]:
    """(name, what makes a call, whether it is asynchronous, library)."""
    sdk = "httpx2" if int(openai.VERSION.split(".")[0]) >= 3 else "httpx"
    yield "sdk async", sdk_async, True, sdk
    yield "sdk sync", sdk_sync, False, sdk
    for library in ("httpx2", "httpx"):
        if find_spec(library) is not None:
            yield f"{library} async", raw_async, True, library
            yield f"{library} sync", raw_sync, False, library


async def call_async(path: str, call: Callable[..., Any], stream: bool, library: str) -> str:
    """With a client of its own: what one case does to a pool is nothing to the next."""
    reports = Reports()
    async with tieline.AsyncClient(Path(path), **PLACE, kafka=reports) as client:
        assert await client.ready(10), client.status
        found: str = await call(client, stream, library)
    return found if reports.requests == 1 else f"{found}, asked {reports.requests} times"


def call_sync(path: str, call: Callable[..., Any], stream: bool, library: str) -> str:
    """As ``call_async``."""
    reports = Reports()
    with tieline.Client(Path(path), **PLACE, kafka=reports) as client:
        assert client.ready(10), client.status
        found: str = call(client, stream, library)
    return found if reports.requests == 1 else f"{found}, asked {reports.requests} times"


def main(path: str, faulty: str, other: str) -> int:
    """Every case with every driver, streamed and not."""
    ran = wrong = 0
    for case in CASES:
        for url in (faulty, other):
            order("DELETE", f"{url}/faults?")
            if case.fault and (case.everywhere or url == faulty):
                order("POST", f"{url}/faults", {"kind": case.fault, **case.fields})
        for name, call, is_async, library in drivers():
            for stream in (False, True):
                expected = case.streamed if stream else case.whole
                made = call_async(path, call, stream, library) if is_async else None
                found = asyncio.run(made) if made else call_sync(path, call, stream, library)
                ran += 1
                if found != expected:
                    wrong += 1
                    told = {"driver": name, "case": case, "stream": stream, "found": found}
                    sys.stdout.write(json.dumps({**told, "expected": expected}) + "\n")
    sys.stdout.write(json.dumps({"openai": openai.VERSION, "ran": ran, "wrong": wrong}) + "\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
