"""A desk over made-up pools: the client library is the real one, time is what the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import tieline
from picker.answers import Answers
from picker.choosing import Desk
from picker.endpoints import Endpoints
from picker.exchange import Exchange
from picker.messages import ProcessingRequest, ProcessingResponse
from picker.settings import PickerFile, Rule
from tieline.events import Demand
from tieline.testing import FakePools

MODEL = "chat-large"
A, B, C = "azure/swedencentral/a", "gcp/netherlands/b", "oci/london/c"
PLACES = {A: ("10.0.0.1:80",), B: ("10.0.0.2:80",), C: ("10.0.0.3:80",)}
EVEN = {A: 50.0, B: 50.0}
CHAT = Rule(workload="chat", origin="eu")


def picker_file(**more: Any) -> PickerFile:
    """A file with one rule for everything."""
    return PickerFile(**{"listen": "127.0.0.1:9002", "routes": (CHAT,), "endpoints": PLACES, **more})


class Reports:
    """A client's sink that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[Demand] = []

    def post(self, event: Demand) -> bool:
        self.kept.append(event)
        return True


class Bench:
    """A desk and what it stands on. ``now_ms`` is the picker's clock."""

    def __init__(
        self, file: PickerFile, client: tieline.AsyncClient, reports: Reports, fake: FakePools
    ) -> None:
        self.fake, self.endpoints = fake, Endpoints(file.endpoints)
        self.client, self.reports = client, reports
        self.desk = Desk(file, {"chat": client}, self.endpoints)
        self.now_ms = 1_000
        self.notes: list[str] = []
        self._file = file

    def exchange(self) -> Exchange:
        """One request's stream."""
        return Exchange(
            self.desk,
            Answers(),
            clock=lambda: self.now_ms,
            note=self.notes.append,
            model_header=self._file.model_header,
            body_max_bytes=self._file.body_max_bytes,
        )

    async def report(self) -> Demand:
        """What the client reports of everything until now."""
        await self.client.flush()
        return self.reports.kept[-1]


@asynccontextmanager
async def bench(
    file: PickerFile | None = None, weights: dict[str, float] | None = None, **more: Any
) -> AsyncIterator[Bench]:
    """A desk whose table gives the pools these weights. ``more`` goes to ``FakePools``."""
    reports = Reports()
    fake = FakePools(weights or EVEN, model=MODEL, **more)
    async with tieline.AsyncClient(fake, workload="chat", origin="eu", kafka=reports) as client:
        assert await client.ready(60)
        yield Bench(file or picker_file(), client, reports, fake=fake)


def request_headers(
    headers: dict[str, str] | None = None,
    *,
    mode: int = 0,
    response_mode: int = 0,
    ends: bool = False,
    subset: Iterable[str] | None = None,
) -> Any:
    """The first message of a stream. ``mode``: how Envoy sends the request's body."""
    message = ProcessingRequest()
    for name, value in {":path": "/v1/chat/completions", **(headers or {})}.items():
        message.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    message.request_headers.end_of_stream = ends
    message.protocol_config.request_body_mode = mode
    message.protocol_config.response_body_mode = response_mode
    if subset is not None:
        namespace = message.metadata_context.filter_metadata.add(key="envoy.lb.subset_hint")
        field = namespace.value.fields.add(key="x-gateway-destination-endpoint-subset")
        field.value.list_value.SetInParent()
        for endpoint in subset:
            field.value.list_value.values.add(string_value=endpoint)
    return message


def named() -> Any:
    """A request whose header names the model."""
    return request_headers({"x-gateway-model-name": MODEL})


def request_body(body: bytes, *, ends: bool = True) -> Any:
    """A piece of a request's body."""
    message = ProcessingRequest()
    message.request_body.body, message.request_body.end_of_stream = body, ends
    return message


def response_headers(status: int, *, served: str = "", by_envoy: bool = False, **headers: str) -> Any:
    """An answer's headers. ``served``: the address that Envoy says has answered."""
    message = ProcessingRequest()
    rows = {":status": str(status), **{name.replace("_", "-"): value for name, value in headers.items()}}
    if not by_envoy:
        rows["x-envoy-upstream-service-time"] = "3"
    for name, value in rows.items():
        message.response_headers.headers.headers.add(key=name, raw_value=value.encode())
    if served:
        namespace = message.metadata_context.filter_metadata.add(key="envoy.lb")
        namespace.value.fields.add(key="x-gateway-destination-endpoint-served").value.string_value = served
    return message


def answers(exchange: Exchange, message: Any) -> list[Any]:
    """What is answered, as messages."""
    return [ProcessingResponse.FromString(data) for data in exchange.take(message)]


def answer(exchange: Exchange, message: Any) -> Any:
    """The one answer."""
    (only,) = answers(exchange, message)
    return only


def set_headers(mutation: Any) -> dict[str, str]:
    """What a header mutation sets; each overwrites what was there."""
    assert all(option.append_action == 2 for option in mutation.set_headers)
    return {option.header.key: option.header.raw_value.decode() for option in mutation.set_headers}


def endpoint(message: Any, part: str = "request_headers") -> str:
    """The destination that an answer says in its header, and alike in its metadata."""
    headers = set_headers(getattr(message, part).response.header_mutation)
    value = headers["x-gateway-destination-endpoint"]
    (namespace,) = message.dynamic_metadata.fields
    (field,) = namespace.value.struct_value.fields
    assert (namespace.key, field.key) == ("envoy.lb", "x-gateway-destination-endpoint")
    assert field.value.string_value == value
    return value
