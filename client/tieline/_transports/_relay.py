"""The rest of a stream after its first output: handed on as it comes, watched for its end, never spliced."""

import asyncio
from collections.abc import AsyncIterator, Callable

from tieline._sse import StreamReader
from tieline._transports._neutral import Answer, StreamBrokenError, WireError
from tieline.events import ResultClass

DRAIN_S = 0.1

Finish = Callable[[ResultClass], None]


class Relay:
    """Hands on ``held`` and what follows. ``finish`` is called once, with how the stream ended. ``reader``
    is None for a body that is no event stream: its end needs no last event."""

    def __init__(
        self,
        answer: Answer,
        chunks: AsyncIterator[bytes],
        held: bytes,
        reader: StreamReader | None,
        *,
        idle_s: float,
        finish: Finish,
    ) -> None:
        self._answer = answer
        self._chunks = chunks
        self._held = held
        self._reader = reader
        self._idle_s = idle_s
        self._finish: Finish | None = finish
        self._exhausted = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises ``StreamBrokenError`` when the stream breaks, stalls, or ends without its last event."""
        if self._reader is not None and self._reader.ended:
            self._end(ResultClass.OK)
        yield self._held
        while (data := await self._next()) is not None:
            if self._reader is not None:
                self._reader.feed(data)
                if self._reader.ended:
                    self._end(ResultClass.OK)
            yield data
        if self._reader is not None and not self._reader.ended:
            self._end(ResultClass.CUT)
            raise StreamBrokenError("the stream ended without its last event")
        self._end(ResultClass.OK)

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(self._idle_s):
                return await anext(self._chunks)
        except StopAsyncIteration:
            self._exhausted = True
            return None
        except TimeoutError:
            text, idle = f"nothing came for {self._idle_s:g} s in the middle of the stream", True
        except WireError as error:
            text, idle = f"the stream broke after its first output: {error}", False
        if self._reader is not None and self._reader.ended:
            return None  # all was said; how the connection goes down is of no interest
        self._end(ResultClass.CUT)
        raise StreamBrokenError(text, idle=idle)

    async def close(self) -> None:
        """Let go of the connection: kept alive if the answer was whole. A caller who leaves early had his
        reasons: that is no failure of the pool."""
        complete = self._reader is not None and self._reader.ended
        self._end(ResultClass.OK)
        try:
            if complete and not self._exhausted:
                async with asyncio.timeout(DRAIN_S):
                    async for _ in self._chunks:
                        pass
        except (TimeoutError, WireError, RuntimeError):
            pass
        finally:
            await self._answer.close()

    def _end(self, result: ResultClass) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(result)
