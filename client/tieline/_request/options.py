"""Per-call options: ``with tieline.options(session="conv-42", deadline=20): ...`` or the headers of the same
names.

They travel in a context variable, so they hold for the task or thread that set them and for nobody else.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct
from msgspec.structs import replace

from tieline._routing.route import Needs
from tieline.errors import ConfigurationError
from tieline.table import ClientSettings

RECOVERIES = ("raise", "whole", "restart")
EXPECTED_S = "expected seconds, more than 0 and less than a day"
_EXPECTED: tuple[tuple[str, type | None, str], ...] = (
    ("session", str, "expected a string"),
    ("deadline", None, EXPECTED_S),
    ("origin", str, "expected a string"),
    ("needs", Needs, "expected tieline.Needs(...)"),
    ("unbind", bool, "expected True or False"),
)


class Options(Struct, frozen=True):
    """What a caller may say of its requests. ``deadline`` in seconds, for all attempts together. ``unbind``:
    what ties them to a pool is left out where it only saves work. ``fault``: what is wrong with a header, ""
    if nothing is."""

    session: str | None = None
    deadline: float | None = None
    origin: str | None = None
    needs: Needs | None = None
    stream_recovery: str | None = None
    unbind: bool = False
    fault: str = ""


_UNBIND = {"true": True, "false": False}
_NO_OPTIONS = Options()
_current: ContextVar[Options] = ContextVar("tieline_options", default=_NO_OPTIONS)


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
        """Raises ConfigurationError, which names the setting, for a value that is no time."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not _is_time(value):
                raise ConfigurationError(f"timeouts: {name}={value!r}: {EXPECTED_S}")


@contextmanager
def options(
    *,
    session: str | None = None,
    deadline: float | None = None,
    origin: str | None = None,
    needs: Needs | None = None,
    stream_recovery: str | None = None,
    unbind: bool | None = None,
) -> Iterator[None]:
    """Options for the requests made inside; what is not named stays as it is outside.

    ``session``: requests of one session go to one pool while that is in (for prompt caches). ``deadline``:
    seconds for all attempts together, else the read time-out of the HTTP client. ``origin``: one of the
    client's ``origins``. ``needs``: what a pool's model must offer. ``stream_recovery``: what happens to a
    stream that breaks, as for ``AsyncClient``. ``unbind``: requests are sent without
    ``previous_response_id``, encrypted reasoning and ``prompt_cache_key``, so that any pool can serve them;
    their ``input`` must then hold the whole conversation. They hold for the present task or thread and what
    it begins; a request's own headers ``x-tieline-session``, ``-deadline``, ``-origin`` and ``-unbind`` go
    before them. Raises ConfigurationError for a value that can't be.
    """
    values = {
        "session": session,
        "deadline": deadline,
        "origin": origin,
        "needs": needs,
        "stream_recovery": stream_recovery,
        "unbind": unbind,
    }
    changes = {name: value for name, value in values.items() if value is not None}
    _check(changes)
    token = _current.set(replace(_current.get(), **changes))
    try:
        yield
    finally:
        _current.reset(token)


def options_for(headers: Mapping[str, str]) -> Options:
    """The options in force, with those of the request's own headers before them. Never raises: a header that
    can't be is the ``fault``."""
    options_here = _current.get()
    session = headers.get("x-tieline-session")
    origin = headers.get("x-tieline-origin")
    deadline_text = headers.get("x-tieline-deadline")
    unbind_text = headers.get("x-tieline-unbind")
    if session is None and origin is None and deadline_text is None and unbind_text is None:
        return options_here
    deadline, fault = None, ""
    if deadline_text is not None and (deadline := _seconds(deadline_text)) is None:
        fault = f"header x-tieline-deadline: {deadline_text!r}: {EXPECTED_S}"
    if unbind_text is not None and unbind_text not in _UNBIND:
        fault = f"header x-tieline-unbind: {unbind_text!r}: expected true or false"
    return Options(
        session=session or options_here.session,
        deadline=deadline or options_here.deadline,
        origin=origin or options_here.origin,
        needs=options_here.needs,
        stream_recovery=options_here.stream_recovery,
        unbind=_UNBIND.get(unbind_text or "", options_here.unbind),
        fault=fault,
    )


def check_recovery(argument: str, value: object) -> None:
    """Raises ConfigurationError for a value that is no way to recover a stream."""
    if value not in RECOVERIES:
        raise ConfigurationError(f"{argument}={value!r}: expected one of {', '.join(RECOVERIES)}")


def _check(values: Mapping[str, object]) -> None:
    if "stream_recovery" in values:
        check_recovery("options: stream_recovery", values["stream_recovery"])
    for name, kind, expected in _EXPECTED:
        value = values.get(name)
        if value is not None and not (isinstance(value, kind) if kind is not None else _is_time(value)):
            raise ConfigurationError(f"options: {name}={value!r}: {expected}")


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < 86_400


def _ms(seconds: float | None, otherwise_ms: int) -> int:
    return otherwise_ms if seconds is None else max(1, round(seconds * 1_000))


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if _is_time(value) else None
