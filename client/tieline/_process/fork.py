"""Clients in a child process made by ``os.fork``: they have inherited connections, locks and an event loop
that are their parent's, and must use none of them.
"""

import os
from typing import Any, Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Something that has to know."""

    def after_fork(self) -> None:
        """Called in the child, in the thread that forked, the only one there."""
        ...


_watched: "WeakSet[Forked]" = WeakSet()
_kept: list[object] = []


def watch(forked: Forked) -> None:
    """Tell it in every child, as long as it lives."""
    _watched.add(forked)


def keep(*parents: object) -> None:
    """Never let go of these: closing an inherited event loop's transports reaches into the parent's selector,
    which both processes share."""
    _kept.extend(parents)


def let_go(file: Any) -> None:
    """The child's hold on a connection or selector ends; it stays the parent's and hears nothing.

    The number stays taken, by the null device: objects that still name it may close it without closing
    somebody else's file.
    """
    if file is None or file.fileno() < 0:
        return
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(null, file.fileno(), inheritable=False)
    finally:
        os.close(null)


def _in_child() -> None:
    for forked in list(_watched):
        forked.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
