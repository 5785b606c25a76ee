"""The rest of a stream after its first output: handed on as it comes, watched for its end, never spliced."""

import asyncio
from collections.abc import AsyncIterator, Callable

from tieline._sse import StreamReader
from tieline._transports._neutral import Answer, StreamBrokenError, WireError
from tieline.events import ResultClass

DRAIN_S = 0.1

Finish = Callable[[ResultClass], None]


class IdleLimit:
    """How long one wait in a stream may take. One timer for the whole stream: an ``asyncio.timeout`` around
    each of its chunks would cost more than all else that is done with them."""

    __slots__ = ("_cancelling", "_due_s", "_expired", "_idle_s", "_loop", "_task", "_timer")

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._due_s = 0.0
        self._expired = False
        self._cancelling = 0

    def begin(self) -> None:
        """A wait of the running task begins."""
        task = self._task = asyncio.current_task()
        self._cancelling = task.cancelling() if task is not None else 0
        self._due_s = self._loop.time() + self._idle_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._due_s, self._look)

    def end(self) -> None:
        """The wait is over."""
        self._task = None

    def expired(self) -> bool:
        """Whether the cancellation that the running task has just met is this limit's own; then it is taken
        back. Somebody else's goes on."""
        task = asyncio.current_task()
        return self._expired and task is not None and task.uncancel() <= self._cancelling

    def stop(self) -> None:
        """No wait will follow."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Nobody waits: the next wait sets the timer again. Waiting since later: look again then."""
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._due_s:
            self._timer = self._loop.call_at(self._due_s, self._look)
            return
        self._expired = True
        self._task.cancel()


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
        self._idle = IdleLimit(idle_s)
        self._finish: Finish | None = finish
        self._exhausted = False
        self.broken: Callable[[StreamBrokenError], Exception] = _as_it_is

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises what ``broken`` makes of a stream that breaks, stalls, or ends without its last event."""
        reader, idle = self._reader, self._idle
        if reader is not None and reader.ended:
            self._end(ResultClass.OK)
        yield self._held
        while True:
            idle.begin()
            try:
                data = await anext(self._chunks)
            except StopAsyncIteration:
                break
            except (asyncio.CancelledError, WireError) as error:
                self._stopped(error)
                return
            finally:
                idle.end()
            if reader is not None:
                reader.feed(data)
                if reader.ended:
                    self._end(ResultClass.OK)
            yield data
        self._exhausted = True
        if reader is not None and not reader.ended:
            self._end(ResultClass.CUT)
            raise self.broken(StreamBrokenError("the stream ended without its last event"))
        self._end(ResultClass.OK)

    def _stopped(self, error: BaseException) -> None:
        """Nothing more comes. After its last event that is no news: how a connection goes down is of no
        interest."""
        if isinstance(error, WireError):
            told = StreamBrokenError(f"the stream broke after its first output: {error}")
        elif self._idle.expired():
            text = f"nothing came for {self._idle_s:g} s in the middle of the stream"
            told = StreamBrokenError(text, idle=True)
        else:
            raise error
        if self._reader is None or not self._reader.ended:
            self._end(ResultClass.CUT)
            raise self.broken(told) from None

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
        self._idle.stop()
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(result)


def _as_it_is(error: StreamBrokenError) -> Exception:
    return error
