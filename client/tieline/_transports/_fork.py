"""What a child process does with the connections that it has inherited."""

import os
from typing import Any


def let_go(socket: Any) -> None:
    """The child's hold on a connection ends; the connection itself stays the parent's and hears nothing.

    The number stays taken, by the null device: objects that still name it may close it without closing
    somebody else's file.
    """
    if socket is None or socket.fileno() < 0:
        return
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(null, socket.fileno(), inheritable=False)
    finally:
        os.close(null)
