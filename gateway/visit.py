"""One request as the gateway remembers it, from its head until its response has ended."""

from msgspec import Struct

from gateway.callers import Caller
from tieline.forwarding import Headers, TokenCounts

BROKEN = "broken"  # the stream broke after its first output
LEFT = "left"  # the caller went away
TOLD = "told"  # the worker ended first


class Visit(Struct):
    """``began_s``: by the clock of ``stopwatch_s``. ``status``: of the response, 0 while there is none.
    ``ended``: how it ended where that is not told by the status. ``writing_since_ms``: since when the caller
    has not taken what was written, 0 while nothing waits. ``let_in``: the caller whose limits it was let in
    by, and for how many units; None while it was not."""

    began_s: float
    method: str
    path: str
    peer: str
    caller: str = ""
    workload: str = ""
    origin: str = ""
    status: int = 0
    pool: str = ""
    attempts: str = ""
    reason: str = ""
    usage: TokenCounts | None = None
    ended: str = ""
    writing_since_ms: int = 0
    let_in: "tuple[Caller, float] | None" = None

    @property
    def outcome(self) -> str:
        """Its class in figures: ``2xx``, ``4xx``, ``5xx`` and so on, or how it ended."""
        return self.ended or f"{self.status // 100}xx"

    def replied(self, status: int, headers: Headers) -> None:
        """The status and what the headers say of how it came about."""
        self.status = status
        for name, value in headers:
            match name:
                case b"x-tieline-pool":
                    self.pool = value.decode("latin-1")
                case b"x-tieline-attempts":
                    self.attempts = value.decode("latin-1")
                case b"x-tieline-reason":
                    self.reason = value.decode("latin-1")
