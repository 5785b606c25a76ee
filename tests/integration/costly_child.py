"""Run by test_client_costly: ``python costly_child.py ROUTES_OF_TWO ROUTES_OF_ONE``.

Orders what is dear from pools that never answer, with a time-out that the caller declares and the SDK's own
retries, all at once: by the SDK and by plain clients, with asyncio and in threads. Prints one JSON line for
each order: its name, which is in its body too, and the error that the caller gets.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import openai
import openai.resources  # imported late, by two threads at once, it may block them

import tieline

MODEL = "chat-large"
PLACE: dict[str, Any] = {"workload": "chat", "origin": "eu"}
LIBRARY = "httpx2" if int(openai.VERSION.split(".")[0]) >= 3 else "httpx"
SOUND = ("a.wav", b"RIFF", "audio/wav")
SHORT_S = 1.0
LONG_S = 11.0  # a whole answer that was waited for for more than 10 s may be billed


class Order(NamedTuple):
    """One way to ask for something dear. ``ask(sdk, name)`` gives the answer, or what is awaited for it."""

    kind: str
    timeout_s: float
    ask: Callable[[Any, str], Any]


def _picture(llm: Any, name: str) -> Any:
    return llm.images.generate(model=MODEL, prompt=name)


def _pictures_as_stream(llm: Any, name: str) -> Any:
    return llm.images.generate(model=MODEL, prompt=name, stream=True)


def _transcript(llm: Any, name: str) -> Any:
    return llm.audio.transcriptions.create(model=MODEL, file=SOUND, prompt=name)


def _speech(llm: Any, name: str) -> Any:
    return llm.audio.speech.create(model=MODEL, input=name, voice="alloy")


def _chat(llm: Any, name: str) -> Any:
    return llm.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": name}])


ORDERS = (
    Order("picture", SHORT_S, _picture),
    Order("pictures as a stream", SHORT_S, _pictures_as_stream),
    Order("transcript", SHORT_S, _transcript),
    Order("speech", SHORT_S, _speech),
    Order("long chat", LONG_S, _chat),
)


def _settings(client: Any, order: Order) -> dict[str, Any]:
    http = client.http_client(library=LIBRARY)
    url = client.base_url
    return {"api_key": "unused", "base_url": url, "http_client": http, "timeout": order.timeout_s}


async def order_async(path: str, order: Order, name: str) -> str:
    """By the asynchronous SDK."""
    async with tieline.AsyncClient(Path(path), **PLACE) as client:
        assert await client.ready(60)
        async with openai.AsyncOpenAI(**_settings(client, order)) as llm:
            try:
                await order.ask(llm, name)
            except openai.OpenAIError as error:
                return type(error).__name__
    return "an answer"


def order_sync(path: str, order: Order, name: str) -> str:
    """By the synchronous SDK."""
    with tieline.Client(Path(path), **PLACE) as client:
        assert client.ready(60)
        with openai.OpenAI(**_settings(client, order)) as llm:
            try:
                order.ask(llm, name)
            except openai.OpenAIError as error:
                return type(error).__name__
    return "an answer"


async def plain_async(path: str, name: str) -> str:
    """Twice, as a caller without the SDK does who asks again by itself."""
    errors = []
    async with tieline.AsyncClient(Path(path), **PLACE) as client:
        assert await client.ready(60)
        async with client.http_client(library=LIBRARY, base_url=client.base_url, timeout=SHORT_S) as http:
            for _ in range(2):
                try:
                    await http.post("/images/generations", json={"model": MODEL, "prompt": name})
                except Exception as error:  # noqa: BLE001 (either library's own)
                    errors.append(type(error).__name__)
    return ", ".join(errors)


def plain_sync(path: str, name: str) -> str:
    """As ``plain_async``."""
    errors = []
    with tieline.Client(Path(path), **PLACE) as client:
        assert client.ready(60)
        with client.http_client(library=LIBRARY, base_url=client.base_url, timeout=SHORT_S) as http:
            for _ in range(2):
                try:
                    http.post("/images/generations", json={"model": MODEL, "prompt": name})
                except Exception as error:  # noqa: BLE001 (either library's own)
                    errors.append(type(error).__name__)
    return ", ".join(errors)


async def main(of_two: str, of_one: str) -> None:
    """Every order, all at once."""
    running = {
        "plain, async": plain_async(of_two, "plain, async"),
        "plain, sync": asyncio.to_thread(plain_sync, of_two, "plain, sync"),
    }
    for order in ORDERS:
        path = of_one if order.timeout_s == LONG_S else of_two
        name = f"{order.kind}, async"
        running[name] = order_async(path, order, name)
        name = f"{order.kind}, sync"
        running[name] = asyncio.to_thread(order_sync, path, order, name)
    for name, error in zip(running, await asyncio.gather(*running.values()), strict=True):
        sys.stdout.write(json.dumps({"name": name, "error": error}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
