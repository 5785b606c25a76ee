"""Per-call options: ``with tieline.options(session="conv-42", deadline=20): ...`` or the headers of the
same names.

They travel in a context variable, so they hold for the task or thread that set them and for nobody else.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct
from msgspec.structs import replace

from tieline._route import Needs


class Options(Struct, frozen=True):
    """What a caller may say of its requests. ``deadline`` in seconds, for all attempts together."""

    session: str | None = None
    deadline: float | None = None
    origin: str | None = None
    needs: Needs | None = None


_NONE = Options()
_current: ContextVar[Options] = ContextVar("tieline_options", default=_NONE)


@contextmanager
def options(
    *,
    session: str | None = None,
    deadline: float | None = None,
    origin: str | None = None,
    needs: Needs | None = None,
) -> Iterator[None]:
    """Options for the requests made inside; what is not named stays as it is outside."""
    given = {"session": session, "deadline": deadline, "origin": origin, "needs": needs}
    changed = {name: value for name, value in given.items() if value is not None}
    token = _current.set(replace(_current.get(), **changed))
    try:
        yield
    finally:
        _current.reset(token)


def options_for(headers: Mapping[str, str]) -> Options:
    """The options in force, with those of the request's own headers before them."""
    held = _current.get()
    session = headers.get("x-tieline-session")
    origin = headers.get("x-tieline-origin")
    deadline = _seconds(headers.get("x-tieline-deadline"))
    if session is None and origin is None and deadline is None:
        return held
    return Options(session or held.session, deadline or held.deadline, origin or held.origin, held.needs)


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else 0.0
    except ValueError:
        return None
    return value if 0 < value < 86_400 else None
