"""A terminal that is taken over by a full screen: its keys as names, its alternate screen, and back again."""

import asyncio
import codecs
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

ESCAPE_WITHIN_S = 0.05  # the rest of a sequence follows at once; nothing follows the key itself
_ENTER = "\x1b[?1049h\x1b[?25l"  # the alternate screen, without a cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"
_SEQUENCES = {
    "[A": "up",
    "[B": "down",
    "[H": "home",
    "[F": "end",
    "OA": "up",
    "OB": "down",
    "OH": "home",
    "OF": "end",
    "[1~": "home",
    "[4~": "end",
    "[5~": "pageup",
    "[6~": "pagedown",
}
_SINGLE = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace"}


class KeyReader:
    """Names keys from what a terminal sends. A sequence may come in pieces. Pure."""

    def __init__(self) -> None:
        self._pending = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    @property
    def waits(self) -> bool:
        """Whether an escape has come that may be a key of its own or the beginning of a sequence."""
        return bool(self._pending)

    def read(self, data: bytes) -> list[str]:
        """The keys that are complete: ``up``, ``enter``, ``escape`` and so on, or one printable character."""
        keys = []
        for letter in self._decoder.decode(data):
            if self._pending:
                keys += self._in_sequence(letter)
            elif letter == "\x1b":
                self._pending = letter
            elif letter in _SINGLE:
                keys.append(_SINGLE[letter])
            elif letter.isprintable():
                keys.append(letter)
        return keys

    def flush(self) -> list[str]:
        """The key Escape, if nothing followed it; an unfinished sequence is dropped."""
        pending, self._pending = self._pending, ""
        return ["escape"] if pending == "\x1b" else []

    def _in_sequence(self, letter: str) -> list[str]:
        if letter == "\x1b":
            return self.flush() + self.read(b"\x1b")
        if self._pending == "\x1b" and letter not in "[O":
            return self.flush() + self.read(letter.encode())
        self._pending += letter
        if len(self._pending) == 2 or not ("@" <= letter <= "~"):
            return []
        sequence, self._pending = self._pending[1:], ""
        return [_SEQUENCES[sequence]] if sequence in _SEQUENCES else []


class FullScreen:
    """The terminal while a command draws on all of it. Leaves it as it was, also after a signal or an error.

    ``on_key`` is called with each key, ``on_resize`` when the size changed or the command came back from ^Z.
    """

    def __init__(self, on_key: Callable[[str], None], on_resize: Callable[[], None]) -> None:
        self._on_key = on_key
        self._on_resize = on_resize
        self._input = sys.stdin.fileno()
        self._keys = KeyReader()
        self._before: list[Any] = []
        self._timer: asyncio.TimerHandle | None = None

    def draw(self, text: str) -> None:
        """Shows the text from the upper left corner on; each line must end what was there before it."""
        sys.stdout.write(f"\x1b[H{text}\x1b[J")
        sys.stdout.flush()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        running = asyncio.current_task()
        if running is None:
            raise RuntimeError("not inside a task")
        self._before = termios.tcgetattr(self._input)
        self._take()
        loop.add_reader(self._input, self._read)
        loop.add_signal_handler(signal.SIGWINCH, self._on_resize)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, running.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._input)
        for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
        self._give_back()

    def _take(self) -> None:
        tty.setcbreak(self._input)
        sys.stdout.write(_ENTER)
        sys.stdout.flush()

    def _give_back(self) -> None:
        # The terminal may be gone, as after SIGHUP.
        with contextlib.suppress(OSError):
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def _suspend(self) -> None:
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()  # it goes on here after SIGCONT
        self._on_resize()

    def _read(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._tell(self._keys.read(os.read(self._input, 1_024)))
        if self._keys.waits:
            self._timer = asyncio.get_running_loop().call_later(
                ESCAPE_WITHIN_S, lambda: self._tell(self._keys.flush())
            )

    def _tell(self, keys: list[str]) -> None:
        for key in keys:
            self._on_key(key)
