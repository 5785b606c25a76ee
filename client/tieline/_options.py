"""Per-call options: ``with tieline.options(session="conv-42", deadline=20): ...`` or the headers of the
same names.

They travel in a context variable, so they hold for the task or thread that set them and for nobody else.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct
from msgspec.structs import replace

from tieline._errors import ConfigurationError
from tieline._route import Needs
from tieline.table import ClientSettings


class Options(Struct, frozen=True):
    """What a caller may say of its requests. ``deadline`` in seconds, for all attempts together."""

    session: str | None = None
    deadline: float | None = None
    origin: str | None = None
    needs: Needs | None = None


class Timeouts(Struct, frozen=True):
    """What this client waits for, in seconds, instead of what the table says. ``first_token``: of a stream,
    and the base of the limit for whole answers. ``idle``: between two pieces of a stream. ``stale_after``:
    without a word from the source of the table, until ``status`` says so."""

    first_token: float | None = None
    idle: float | None = None
    stale_after: float | None = None

    def over(self, settings: ClientSettings) -> ClientSettings:
        """The table's settings with these instead."""
        return replace(
            settings,
            first_token_timeout_ms=_ms(self.first_token, settings.first_token_timeout_ms),
            idle_timeout_ms=_ms(self.idle, settings.idle_timeout_ms),
            stale_after_ms=_ms(self.stale_after, settings.stale_after_ms),
        )

    def check(self) -> None:
        """Raises ConfigurationError for a time that is none."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not 0 < value < 86_400:
                raise ConfigurationError(f"timeouts: {name}={value!r}: expected seconds, more than 0")


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


def _ms(seconds: float | None, otherwise_ms: int) -> int:
    return otherwise_ms if seconds is None else max(1, round(seconds * 1_000))


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else 0.0
    except ValueError:
        return None
    return value if 0 < value < 86_400 else None
