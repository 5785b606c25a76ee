"""PURE, sans I/O. The rest of an answer after its first output: handed on as it comes, watched for its end,
never spliced.

Whoever drives a relay reads the answer's bytes and calls ``take`` with what came, ``over`` at the body's end,
``broken`` when reading failed, and ``close`` when the caller is done. Those may come in any order and number;
how the answer ended is reported once, by the first of them that settles it.
"""

from collections.abc import Callable

from tieline._http.flights import Flight
from tieline._http.messages import Answer, StreamBrokenError, WireError
from tieline._request.recovery import Restart
from tieline.events import ResultClass
from tieline.providers.streams import StreamReader, TokenCounts

Finish = Callable[[ResultClass], None]


class Relay:
    """``prefix``: bytes that were read already and come first. ``reader`` is None for a body that is no event
    stream: its end needs no last event. ``finish`` is called once, with how the answer ended.
    ``restart``: gives the request to send when the stream has broken, or None where it may not be sent anew;
    it is None itself for callers who did not ask for that."""

    def __init__(
        self,
        answer: Answer,
        prefix: bytes,
        reader: StreamReader | None,
        *,
        flight: Flight,
        idle_ms: int,
        clock: Callable[[], int],
        finish: Finish,
        restart: Restart | None = None,
    ) -> None:
        self.answer = answer
        self.prefix = prefix
        self._reader = reader
        self._flight = flight
        self._idle_ms = idle_ms
        self._clock = clock
        self._finish: Finish | None = finish
        self.restart = restart
        self._result = ResultClass.OK
        if reader is not None and reader.ended:
            self._end(reader.result_so_far)

    @property
    def complete(self) -> bool:
        """Whether the stream's last event has come: nothing that follows can change how it ended."""
        return self._reader is not None and self._reader.ended

    @property
    def usage(self) -> TokenCounts | None:
        """The token counts that have been named so far."""
        return self._reader.usage if self._reader is not None else None

    def waits(self, limit_ms: int | None = None) -> None:
        """A wait for the next bytes begins. It may take ``limit_ms``, by default the idle limit."""
        self._flight.due_ms = self._clock() + (self._idle_ms if limit_ms is None else limit_ms)

    def take(self, data: bytes) -> None:
        """More of the body has come; the driver hands it on."""
        reader = self._reader
        if reader is not None:
            reader.feed(data)
            if reader.ended:
                self._end(reader.result_so_far)

    def over(self) -> None:
        """The body has ended. Raises ``StreamBrokenError`` when it ended without its last event."""
        reader = self._reader
        self._end(ResultClass.OK if reader is None else reader.close(clean=True))
        if reader is not None and not reader.ended:
            raise StreamBrokenError("the stream ended without its last event")

    def broken(self, error: WireError) -> StreamBrokenError | None:
        """Reading failed. Gives the error to raise to the caller; None after the last event, as it does not
        matter then how the connection goes down."""
        result = ResultClass.CUT if self._reader is None else self._reader.close(clean=False)
        if self.complete:
            return None
        self._end(result)
        if error.result is ResultClass.TIMEOUT:
            text = f"nothing came for {self._idle_ms / 1_000:g} s in the middle of the stream"
            return StreamBrokenError(text, idle=True)
        return StreamBrokenError(f"the stream broke after its first output: {error}")

    def close(self) -> None:
        """The caller is done. A caller that leaves early is no failure of the pool: it counts as ok, unless
        an error event came before."""
        self._end(ResultClass.OK if self._reader is None else self._reader.result_so_far)
        self.answer.close()

    def also(self, finish: Finish) -> None:
        """Call this as well when it has ended; at once where it has."""
        first = self._finish
        if first is None:
            finish(self._result)
            return

        def both(result: ResultClass) -> None:
            first(result)
            finish(result)

        self._finish = both

    def _end(self, result: ResultClass) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            self._result = result
            finish(result)
