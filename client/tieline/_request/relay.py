"""PURE, sans I/O. The rest of an answer after its first output: handed on as it comes, watched for its end,
never spliced.

Whoever drives it reads the answer's bytes and tells: ``take`` what came, ``over`` at the end, ``broken`` when
reading failed, ``close`` when the caller is done.
"""

from collections.abc import Callable

from tieline._http.flights import Flight
from tieline._http.messages import Answer, StreamBrokenError, WireError
from tieline._request.sse import StreamReader
from tieline.events import ResultClass

Finish = Callable[[ResultClass], None]


class Relay:
    """``held`` was read already and comes first. ``finish`` is called once, with how the answer ended.
    ``reader`` is None for a body that is no event stream: its end needs no last event."""

    def __init__(
        self,
        answer: Answer,
        held: bytes,
        reader: StreamReader | None,
        *,
        flight: Flight,
        idle_ms: int,
        clock: Callable[[], int],
        finish: Finish,
    ) -> None:
        self.answer = answer
        self.held = held
        self._reader = reader
        self._flight = flight
        self._idle_ms = idle_ms
        self._clock = clock
        self._finish: Finish | None = finish
        if reader is not None and reader.ended:
            self._end(ResultClass.OK)

    @property
    def complete(self) -> bool:
        """Whether the stream's last event has come: what may still follow is no news."""
        return self._reader is not None and self._reader.ended

    def waits(self, limit_ms: int | None = None) -> None:
        """A wait for the next bytes begins: it may take as long as the idle limit."""
        self._flight.due_ms = self._clock() + (self._idle_ms if limit_ms is None else limit_ms)

    def take(self, data: bytes) -> None:
        """More of the body, to be handed on."""
        reader = self._reader
        if reader is not None:
            reader.feed(data)
            if reader.ended:
                self._end(ResultClass.OK)

    def over(self) -> None:
        """The body has ended. Raises ``StreamBrokenError`` when it ended without its last event."""
        if self._reader is not None and not self._reader.ended:
            self._end(ResultClass.CUT)
            raise StreamBrokenError("the stream ended without its last event")
        self._end(ResultClass.OK)

    def broken(self, error: WireError) -> StreamBrokenError | None:
        """Reading failed. What the caller must be told; None after the last event: how a connection goes down
        then is of no interest."""
        if self.complete:
            return None
        self._end(ResultClass.CUT)
        if error.result is ResultClass.TIMEOUT:
            text = f"nothing came for {self._idle_ms / 1_000:g} s in the middle of the stream"
            return StreamBrokenError(text, idle=True)
        return StreamBrokenError(f"the stream broke after its first output: {error}")

    def close(self) -> None:
        """The caller is done. One who leaves early had his reasons: that is no failure of the pool."""
        self._end(ResultClass.OK)
        self.answer.close()

    def _end(self, result: ResultClass) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(result)
