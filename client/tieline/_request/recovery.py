"""PURE. What happens to a stream that breaks after its first output. Two answers are never spliced, so there
are three ways, and the caller chooses:

    raise     the break is raised: the caller has a part of an answer, and decides what to do with it
    whole     the stream is held back until it is complete, so that it may go to another pool until then
    restart   the request is sent anew, and the caller is told to begin again with the new answer

A restart is a retry as any other. It goes to another pool if there is one, takes a token of the retry budget
unless the pool that is left succeeds no more, and a request has at most as many as it has attempts.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from tieline._http.messages import HttpRequest

RECOVERY_BYTES_MAX = 16 * 1024 * 1024
Restart = Callable[[], HttpRequest | None]


class Recovery(Struct, frozen=True):
    """What a client does unless a request says otherwise. ``mode``: "raise", "whole" or "restart".
    ``bytes_max``: how much of a stream is held back; a larger one is handed on from there."""

    mode: str = "raise"
    bytes_max: int = RECOVERY_BYTES_MAX

    def of_request(self, mode: str | None) -> "Recovery":
        """What holds for a request with this option, None for none."""
        return self if mode is None or mode == self.mode else Recovery(mode, self.bytes_max)

    @property
    def held_bytes_max(self) -> int:
        """How many bytes of a stream are held back after its first output."""
        return self.bytes_max if self.mode == "whole" else 0


def sent_anew(request: HttpRequest, pool: str, request_id: str) -> HttpRequest:
    """The same request under the same id, which keeps away from this pool as well."""
    headers, named = request.headers, request.named
    if "x-request-id" not in named:
        headers = [*headers, (b"x-request-id", request_id.encode("ascii"))]
        named = {**named, "x-request-id": request_id}
    return replace(request, headers=headers, named=named, left=(*request.left, pool))
