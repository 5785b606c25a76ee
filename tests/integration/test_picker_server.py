"""The picker's gRPC service over sockets: health, who may call it, its end, and what happens at a mistake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from controller.process.errors import SettingError
from picker.messages import HealthCheckRequest, HealthCheckResponse, ProcessingResponse
from picker.server import HEALTH, NOT_SERVING, SERVICE, SERVING, PickerServer
from picker.settings import PickerFile
from tests.integration.certificates import certificate
from tests.unit.picker.desks import A, Bench, bench, endpoint, named, picker_file
from tests.waiting import until

LISTEN = "127.0.0.1:0"
ONLY_A = {A: 1.0}


@asynccontextmanager
async def serving(file: PickerFile) -> AsyncIterator[tuple[PickerServer, str, Bench]]:
    """A server over one made-up pool, and where it listens."""
    async with bench(file, ONLY_A) as at:
        server = PickerServer(file, at.desk, clock=lambda: at.now_ms, is_ready=lambda: True)
        async with server.listening() as address:
            yield server, address, at


def serialized(message: Any) -> bytes:
    """A message as bytes."""
    return bytes(message.SerializeToString())


def processing(channel: grpc.aio.Channel) -> Any:
    """One request's stream."""
    call = channel.stream_stream(
        f"/{SERVICE}/Process",
        request_serializer=serialized,
        response_deserializer=ProcessingResponse.FromString,
    )
    return call()


async def status_of(channel: grpc.aio.Channel) -> int:
    """What the health check says."""
    check = channel.unary_unary(
        f"/{HEALTH}/Check",
        request_serializer=serialized,
        response_deserializer=HealthCheckResponse.FromString,
    )
    return int((await check(HealthCheckRequest())).status)


async def test_health_fails_as_soon_as_it_stops_and_requests_are_picked_for() -> None:
    """So that Envoy turns to another picker before this one is gone."""
    async with (
        serving(picker_file(listen=LISTEN)) as (server, address, _),
        grpc.aio.insecure_channel(address) as channel,
    ):
        assert await status_of(channel) == SERVING
        server.stop()
        assert await status_of(channel) == NOT_SERVING
        stream = processing(channel)
        await stream.write(named())
        assert endpoint(await stream.read()) == "10.0.0.1:80"
        await stream.done_writing()


async def test_who_watches_the_health_is_told_of_every_change() -> None:
    """At once when the picker is asked to stop, and soon after a table has come. A watch that is left is
    forgotten."""
    file, tables = picker_file(listen=LISTEN), list[str]()
    async with bench(file, ONLY_A) as at:
        server = PickerServer(file, at.desk, clock=lambda: 0, is_ready=lambda: bool(tables))
        async with server.listening() as address, grpc.aio.insecure_channel(address) as channel:
            watch = channel.unary_stream(
                f"/{HEALTH}/Watch",
                request_serializer=serialized,
                response_deserializer=HealthCheckResponse.FromString,
            )
            first, second = watch(HealthCheckRequest()), watch(HealthCheckRequest())
            assert [(await call.read()).status for call in (first, second)] == [NOT_SERVING] * 2
            second.cancel()
            tables.append("one")
            assert (await first.read()).status == SERVING
            await until(lambda: server.open == 1)
            server.stop()
            assert (await first.read()).status == NOT_SERVING


async def test_open_streams_end_well_when_the_picker_ends() -> None:
    """A stream that is cut off would make Envoy fail its request. No outcome is made up for it."""
    async with bench(picker_file(listen=LISTEN), ONLY_A) as at:
        server = PickerServer(
            picker_file(listen=LISTEN), at.desk, clock=lambda: at.now_ms, is_ready=lambda: True
        )
        async with server.listening() as address:
            channel = grpc.aio.insecure_channel(address)
            stream = processing(channel)
            await stream.write(named())
            await stream.read()
            at.now_ms += 60_000
        assert await stream.code() is grpc.StatusCode.OK
        await channel.close()
        assert server.open == 0
        assert all(not row.outcomes.timeout and not row.in_flight for row in (await at.report()).pools)


async def test_a_stream_that_envoy_ends_leaves_nothing_behind() -> None:
    """Neither an open stream nor a request in flight."""
    async with (
        serving(picker_file(listen=LISTEN)) as (server, address, at),
        grpc.aio.insecure_channel(address) as channel,
    ):
        stream = processing(channel)
        await stream.write(named())
        await stream.read()
        assert (server.open, at.client.core.flights.count(A)) == (1, 1)
        stream.cancel()
        await until(lambda: server.open == 0)
        assert at.client.core.flights.count(A) == 0


async def test_only_callers_with_a_certificate_may_call(tmp_path: Path) -> None:
    """With client_ca nobody else is listened to."""
    own, callers = certificate(tmp_path, "picker"), certificate(tmp_path, "gateway")
    authority = tmp_path / "authority.pem"
    authority.write_bytes(only_certificate(callers))
    file = picker_file(listen=LISTEN, certificate=str(own), key=str(own), client_ca=str(authority))
    root = only_certificate(own)
    async with serving(file) as (_, address, _at):
        shown = grpc.ssl_channel_credentials(root, callers.read_bytes(), only_certificate(callers))
        async with grpc.aio.secure_channel(address, shown) as channel:
            assert await status_of(channel) == SERVING
        async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(root)) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await status_of(channel)


def only_certificate(file: Path) -> bytes:
    """The certificate in a file that has its key as well."""
    text = file.read_bytes()
    return text[text.index(b"-----BEGIN CERTIFICATE") :]


async def test_what_cannot_work_is_said(tmp_path: Path) -> None:
    """An address of another machine, a certificate that is not there, a key that others may read."""
    with pytest.raises(SettingError, match="listen: it can't listen on"):
        async with serving(picker_file(listen="192.0.2.1:9002")):
            pass
    key = tmp_path / "key.pem"
    with pytest.raises(SettingError, match=r"the certificate nowhere.pem and its key can't be used: No such"):
        async with serving(picker_file(listen=LISTEN, certificate="nowhere.pem", key=str(key))):
            pass
    own = certificate(tmp_path, "picker")
    nowhere = picker_file(listen=LISTEN, certificate=str(own), key=str(own), client_ca="nowhere.pem")
    with pytest.raises(SettingError, match=r"the authority of callers nowhere.pem can't be read: No such"):
        async with serving(nowhere):
            pass
    own.chmod(0o644)
    with pytest.raises(SettingError, match="the key for TLS: other users of this machine"):
        async with serving(picker_file(listen=LISTEN, certificate=str(own), key=str(own))):
            pass


async def test_readiness_is_that_of_the_table() -> None:
    """Without a table health checks fail."""
    file = picker_file(listen=LISTEN)
    async with bench(file, ONLY_A) as at:
        server = PickerServer(file, at.desk, clock=lambda: 0, is_ready=lambda: False)
        async with server.listening() as address, grpc.aio.insecure_channel(address) as channel:
            assert await status_of(channel) == NOT_SERVING
