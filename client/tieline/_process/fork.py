"""Clients in a child process made by ``os.fork``. The package's docstring says why this needs care."""

import os
from typing import Any, Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """Something that has to replace parts of itself in a child process."""

    def after_fork(self) -> None:
        """Called in the child, by the thread that forked, which is the only thread there."""
        ...


_watched: "WeakSet[ForkAware]" = WeakSet()
_never_collected: list[object] = []


def watch(watched: ForkAware) -> None:
    """Call ``after_fork`` of this object in every child process, as long as the object lives."""
    _watched.add(watched)


def keep(*inherited: object) -> None:
    """Never let these objects of the parent be garbage collected in this child.

    Closing the transports of an inherited event loop would remove them from the parent's selector, which both
    processes share.
    """
    _never_collected.extend(inherited)


def let_go(file: Any) -> None:
    """Close the child's copy of an inherited socket or selector; the parent's copy is not affected.

    The file descriptor's number is not freed: the null device takes its place. Objects that still know the
    number may then close it without closing a file that somebody else has opened under it.
    """
    if file is None or file.fileno() < 0:
        return
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(null, file.fileno(), inheritable=False)
    finally:
        os.close(null)


def _in_child() -> None:
    for watched in list(_watched):
        watched.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
