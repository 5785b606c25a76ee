"""The gRPC service that Envoy calls, and gRPC's health checks beside it.

Each request of a caller is one stream, which lives until the answer's headers are there, so thousands may be
open at once and each is a coroutine. A stream that is cut off makes Envoy fail the request; one that ends
well lets it go on as it is. So a picker that stops ends its streams well, and answers no health check any
more from the moment that it is asked to stop.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import structlog

from controller.process.errors import SettingError
from picker.answers import Answers
from picker.choosing import Desk
from picker.exchange import Exchange
from picker.messages import HealthCheckRequest, HealthCheckResponse, ProcessingRequest
from picker.settings import PickerFile
from tieline.errors import ConfigurationError
from tieline.private_files import read_private_file

SERVICE, HEALTH = "envoy.service.ext_proc.v3.ExternalProcessor", "grpc.health.v1.Health"
SERVING, NOT_SERVING = 1, 2
HEALTH_EVERY_S = 1.0
_MESSAGE_MARGIN_BYTES = 1024 * 1024  # for what a message has beside a body
_STOP_WITHIN_S = 1.0


class PickerServer:
    """``counts``: picks by reason, and what went wrong. ``is_ready``: whether there is a table to pick by."""

    def __init__(
        self, file: PickerFile, desk: Desk, *, clock: Callable[[], int], is_ready: Callable[[], bool]
    ) -> None:
        self._file, self._desk, self._clock, self._is_ready = file, desk, clock, is_ready
        self._answers = Answers()
        self._streams: set[asyncio.Task[Any]] = set()
        self._is_stopping = False
        self.counts: Counter[str] = Counter()
        self.errors = 0
        self._log = structlog.get_logger("picker")

    @property
    def open(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    @property
    def is_serving(self) -> bool:
        """What health checks are told."""
        return self._is_ready() and not self._is_stopping

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serves as long as the context lasts, and gives the address. Raises SettingError when it can't."""
        bytes_max = self._file.body_max_bytes + _MESSAGE_MARGIN_BYTES
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", bytes_max),
                ("grpc.max_send_message_length", bytes_max),
            ],
            maximum_concurrent_rpcs=self._file.streams_max,
        )
        server.add_generic_rpc_handlers((self._processing(), self._health()))
        port = self._bind(server)
        await server.start()
        try:
            yield f"{self._file.listen.rpartition(':')[0]}:{port}"
        finally:
            await self._end_streams()
            await server.stop(_STOP_WITHIN_S)

    def stop(self) -> None:
        """Health checks fail from now on. Requests are picked for as before."""
        self._is_stopping = True

    def _bind(self, server: Any) -> int:
        listen, port = self._file.listen, 0
        try:
            if self._file.certificate:
                key, certificate, authority = _tls_parts(self._file)
                credentials = grpc.ssl_server_credentials(
                    [(key, certificate)], authority or None, require_client_auth=bool(authority)
                )
                port = server.add_secure_port(listen, credentials)
            else:
                port = server.add_insecure_port(listen)
        except RuntimeError as error:
            raise SettingError(f"listen: it can't listen on {listen}: {error}") from None
        if not port:
            raise SettingError(f"listen: it can't listen on {listen}")
        return int(port)

    def _processing(self) -> Any:
        handler = grpc.stream_stream_rpc_method_handler(
            self._process, request_deserializer=ProcessingRequest.FromString, response_serializer=bytes
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Process": handler})

    def _health(self) -> Any:
        shape = {
            "request_deserializer": HealthCheckRequest.FromString,
            "response_serializer": lambda message: message.SerializeToString(),
        }
        check = grpc.unary_unary_rpc_method_handler(self._check, **shape)
        watch = grpc.unary_stream_rpc_method_handler(self._watch, **shape)
        return grpc.method_handlers_generic_handler(HEALTH, {"Check": check, "Watch": watch})

    async def _process(self, _requests: Any, context: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        exchange = Exchange(
            self._desk,
            self._answers,
            clock=self._clock,
            note=self._note,
            model_header=self._file.model_header,
            body_max_bytes=self._file.body_max_bytes,
        )
        self._streams.add(task)
        drained = False
        try:
            await self._converse(exchange, context)
        except asyncio.CancelledError:
            drained = self._is_stopping
            if not drained:
                raise
        finally:
            self._streams.discard(task)
            exchange.end(drained=drained)

    async def _converse(self, exchange: Exchange, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            try:
                answers = list(exchange.take(message))
            except Exception:
                self.errors += 1
                self._log.exception(
                    "a request could not be picked for; Envoy does what it does without a picker"
                )
                raise
            for answer in answers:
                await context.write(answer)
            if exchange.is_refused:
                return

    async def _end_streams(self) -> None:
        """Ends open streams well, so that Envoy goes on with their requests."""
        self._is_stopping = True
        streams = list(self._streams)
        for task in streams:
            task.cancel()
        if streams:
            await asyncio.wait(streams, timeout=_STOP_WITHIN_S)

    async def _check(self, _request: Any, _context: Any) -> Any:
        return HealthCheckResponse(status=SERVING if self.is_serving else NOT_SERVING)

    async def _watch(self, _request: Any, context: Any) -> None:
        last = None
        while True:
            if (now := self.is_serving) != last:
                last = now
                await context.write(HealthCheckResponse(status=SERVING if now else NOT_SERVING))
            await asyncio.sleep(HEALTH_EVERY_S)

    def _note(self, what: str) -> None:
        self.counts[what] += 1


def _tls_parts(file: PickerFile) -> tuple[bytes, bytes, bytes]:
    """(key, certificate, authority of clients, empty for none) as PEM. Raises SettingError, also for a key
    that others than its owner may read."""
    try:
        read_private_file(Path(file.key))
    except ConfigurationError as error:
        raise SettingError(f"key: {error}") from None
    return _pem(file.key, "key"), _pem(file.certificate, "certificate"), _pem(file.client_ca, "client_ca")


def _pem(name: str, field: str) -> bytes:
    try:
        return Path(name).read_bytes() if name else b""
    except OSError as error:
        raise SettingError(f"{field}: {name} can't be read: {error.strerror}") from None
