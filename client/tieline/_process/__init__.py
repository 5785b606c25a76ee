"""What the library shares with the process it runs in: its clock, event loops, and ``os.fork``.

``clock`` is the only module that reads a clock. Everything else is handed the time as a number, so that tests
can move it. Two clocks must not be mixed up: Unix time (``now_ms``) stamps what leaves the process; monotonic
time (``monotonic_ms``) measures durations, because Unix time may jump.

``loops`` holds what the library needs of asyncio beyond asyncio itself: waking everybody who waits now
(``Notifier``), and an event loop in a thread of its own for synchronous callers (``LoopThread``).

``fork`` deals with a hard case. After ``os.fork`` a child process has the memory of its parent, but only the
thread that forked. It inherits three things that it must never use:

- open connections: both processes would read from and write to the same sockets;
- locks: a thread that held one in the parent does not exist in the child, so nobody would release it;
- event loops: closing one, or letting it be garbage collected, changes the parent's selector, which the
  kernel shares between both processes.

Therefore every object that has such a part registers with ``fork.watch``, and its ``after_fork`` replaces the
part in the child. What must not be garbage collected in the child is handed to ``fork.keep``.
Tests: tests/integration/test_client_fork.py.
"""
