"""PURE. One stream as a whole: where its output begins, whether it came to its end, and how it ended."""

from enum import Enum
from typing import Any

from tieline.events import HEALTH_FAILURES, ResultClass
from tieline.providers.answers import reading_of_error
from tieline.providers.streams.events import EventParser, read_event
from tieline.providers.streams.protocols import Judgement, Mark, protocol_of
from tieline.providers.streams.usage import TokenCounts, token_counts

CHUNKS_MAX = 64
BYTES_MAX = 256 * 1024
HALF_BYTES_MAX = 4_096  # of an event that comes in many pieces, which are joined anew with each


class Phase(Enum):
    """What a stream has shown so far."""

    WAITING = "waiting"
    OUTPUT = "output"
    ERROR = "error"  # an error event before any output


class StreamReader:
    """Reads one stream's bytes in whatever pieces they come; never raises.

    ``path``: of the request, which chooses the protocol. ``answers``: how many choices or images the request
    asks for.

    ``phase``: WAITING until the first output or error. ``error``: what an error event says, before or after
    the first output; None without one. ``ended``: the last event has come. ``events``: how many have come,
    the last and comments included. ``usage``: token counts, once an event names them. ``answer_id``: the id
    by which a later request may refer to the answer, "" without one. ``whole``: the answer as JSON, where
    the last event repeats it. ``audio_ids``: of the audio in it, by which later requests may refer to that.
    """

    def __init__(self, path: str = "", answers: int = 1) -> None:
        self.phase = Phase.WAITING
        self.error: Any = None
        self.ended = False
        self.events = 0
        self.usage: TokenCounts | None = None
        self.answer_id = ""
        self.whole = b""
        self.audio_ids: dict[str, None] = {}
        self._protocol = protocol_of(path)
        self._answers = max(1, answers)
        self._parser = EventParser()
        self._finished: set[int] = set()
        self._last_events = 0
        self._between_events = False  # the output has begun, and the parser has nothing of an event
        self._half = b""  # the beginning of an event that the parser was not given yet
        self._early_chunks = 0
        self._early_bytes = 0

    def feed(self, data: bytes) -> Phase:
        """Take the next bytes; gives the phase after them.

        A stream without output for 64 chunks or 256 KiB counts as output from there: a reader that holds the
        answer back until then must not hold it back, nor keep it in memory, for ever. Comments don't count
        as chunks: a model may think for minutes.
        """
        if self._between_events:
            data = self._taken_fast(data)
            if not data:
                return self.phase
        for block in self._parser.blocks(data):
            self._read(block)
        if self.phase is Phase.WAITING and self._early_bytes + self._parser.pending_bytes >= BYTES_MAX:
            self.phase = Phase.OUTPUT
        self._between_events = self.phase is Phase.OUTPUT and self._parser.between_events
        return self.phase

    def _taken_fast(self, data: bytes) -> bytes:
        """Takes in what most pieces of a stream are, at a third of the parser's cost: one whole event that is
        output alone, or the beginning of an event. Gives what is left for the parser: all or nothing."""
        is_simple = b"\r" not in data
        if not is_simple:
            data = data.replace(b"\r\n", b"\n")
            is_simple = b"\r" not in data  # else a CR ends a line, or may be half of a line end
        if self._half:
            data, self._half = self._half + data, b""
        end = data.find(b"\n\n")
        if end == len(data) - 2 > 0 and is_simple and not self._protocol.matters(data):
            self.events += 1
            return b""
        if end < 0 and is_simple and len(data) <= HALF_BYTES_MAX:
            self._half = data
            return b""
        return data

    def close(self, *, clean: bool) -> ResultClass:
        """The body has ended, or nobody reads on; gives how the stream ended, as it counts for the pool.

        ``clean``: the body came to its own end. Sets ``ended`` where that completes the answer. OK: the
        answer is complete. CUT: it is not, or an error of the pool came after the first output. Else the
        class of the error: a rate limit, or a mistake of the caller.
        """
        half, self._half = self._half, b""
        for block in (*self._parser.blocks(half), self._parser.rest()):
            if block and not self.ended:
                self._read(block)
        self.ended = self.ended or (clean and self._ends_with_body())
        if not self.ended and not clean:
            return ResultClass.CUT
        return self.result_so_far if self.ended or self.error is not None else ResultClass.CUT

    @property
    def result_so_far(self) -> ResultClass:
        """OK without an error, else what the error counts as when output came before it."""
        if self.error is None:
            return ResultClass.OK
        result = reading_of_error(self.error).result
        if result in HEALTH_FAILURES:
            return ResultClass.CUT
        return result if result is ResultClass.THROTTLED else ResultClass.CLIENT_ERROR

    def _read(self, block: bytes) -> None:
        self.events += 1
        if self.phase is Phase.WAITING:
            self._read_early(block)
        elif not self.ended and self._protocol.matters(block):
            self._note(self._protocol.judge(read_event(block)))

    def _read_early(self, block: bytes) -> None:
        self._early_bytes += len(block)
        if self._early_bytes >= BYTES_MAX:
            self.phase = Phase.OUTPUT
        event = read_event(block)
        judgement = self._protocol.judge(event)
        self.answer_id = self.answer_id or judgement.answer_id
        self._early_chunks += event.data is not None
        self._note(judgement)
        if self.phase is not Phase.WAITING:
            return
        if judgement.mark is Mark.ERROR or (judgement.mark is Mark.LAST and judgement.error is not None):
            self.phase = Phase.ERROR
        elif judgement.mark is not Mark.EARLY or self._early_chunks >= CHUNKS_MAX:
            self.phase = Phase.OUTPUT

    def _note(self, judgement: Judgement) -> None:
        if judgement.usage is not None:
            self.usage = token_counts(judgement.usage, self.usage) or self.usage
        if judgement.mark is Mark.ERROR or judgement.error is not None:
            self.error = self.error or judgement.error or {}
        self._finished.update(judgement.finished)
        self.audio_ids.update(dict.fromkeys(judgement.audio_ids))
        if judgement.mark is Mark.LAST:
            self.whole = judgement.whole
            self._last_events += 1
            self.ended = not self._protocol.last_types or self._last_events >= self._answers

    def _ends_with_body(self) -> bool:
        """Whether a clean end of the body completes the answer."""
        if self._protocol.by_choices:
            return len(self._finished) >= self._answers
        return self._protocol.ends_with_body or self._last_events > 0 or self._parser.overflowed
