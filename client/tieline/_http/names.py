"""Addresses of host names. The system's resolver is asked in threads of their own, so that no wait for it
holds up an event loop or outlasts a limit.

Where the resolver fails, or gives nothing within 2 s, the addresses that it gave last are used: a pool that
was reached a minute ago is most often still there. A name that was never resolved has none.
"""

import logging
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any, Protocol, TypeAlias

RESOLVE_S = 2.0
NAMES_MAX = 4_096
NEXT_ADDRESS_S = 0.25  # before the next address is tried beside the one before (RFC 8305, section 5)

Address: TypeAlias = tuple[int, tuple[Any, ...]]  # address family, socket address
Answer: TypeAlias = list[Address] | OSError
_Key: TypeAlias = tuple[str, int]
_log = logging.getLogger("tieline")


class Lookup(Protocol):
    """As ``socket.getaddrinfo``."""

    def __call__(self, host: str, port: int, *, type: int) -> list[tuple[Any, Any, int, str, Any]]: ...


class Names:
    """Names and the addresses they had last; beyond ``NAMES_MAX`` the one resolved longest ago is forgotten.
    Thread-safe. ``lookup`` asks the resolver, by default ``socket.getaddrinfo``; ``resolve_s`` is how long it
    is waited for where earlier addresses can be used instead."""

    def __init__(self, lookup: Lookup | None = None, resolve_s: float = RESOLVE_S) -> None:
        self._lookup = lookup
        self._resolve_s = resolve_s
        self._last_good: dict[_Key, list[Address]] = {}
        self._questions: dict[_Key, Future[Answer]] = {}
        self._unresolved: set[str] = set()  # names whose failure was logged
        self._lock = Lock()

    def ask(self, host: str, port: int) -> Future[Answer]:
        """The one question on its way for this name. Its result may be an error."""
        key = host, port
        with self._lock:
            question = self._questions.get(key)
            if question is not None:
                return question
            question = self._questions[key] = Future()
            question.set_running_or_notify_cancel()  # whoever gives up leaves it to the others
        Thread(
            target=self._resolve, args=(key, question), name=f"tieline resolves {host}", daemon=True
        ).start()
        return question

    def limit_s(self, host: str, port: int) -> float | None:
        """How long to wait for the answer; None where nothing can take its place."""
        return self._resolve_s if (host, port) in self._last_good else None

    def addresses(self, host: str, port: int, question: Future[Answer]) -> list[Address]:
        """What to connect to. Raises the resolver's error, or TimeoutError, where there are no earlier
        addresses either."""
        answer = question.result() if question.done() else TimeoutError("the resolver gives nothing")
        if not isinstance(answer, OSError):
            return answer
        last_good = self._last_good.get((host, port))
        if last_good is None:
            raise answer
        with self._lock:
            is_news = host not in self._unresolved
            self._unresolved.add(host)
        if is_news:
            _log.warning(
                "the name %s can't be resolved (%s): its last known addresses are used", host, answer
            )
        return last_good

    def _resolve(self, key: _Key, question: Future[Answer]) -> None:
        answer: Answer
        try:
            lookup = self._lookup or socket.getaddrinfo
            rows = lookup(*key, type=socket.SOCK_STREAM)
            answer = list(_by_turns([(int(family), address) for family, _, _, _, address in rows]))
        except OSError as error:
            answer = error
        except UnicodeError as error:
            answer = OSError(f"not a host name: {error}")
        with self._lock:
            self._questions.pop(key, None)
            if not isinstance(answer, OSError):
                self._last_good.pop(key, None)
                self._last_good[key] = answer
                if len(self._last_good) > NAMES_MAX:
                    forgotten = next(iter(self._last_good))
                    del self._last_good[forgotten]
                    self._unresolved.discard(forgotten[0])
                self._unresolved.discard(key[0])
        question.set_result(answer)


def literal(host: str, port: int) -> list[Address] | None:
    """The address that an IP address stands for; None for a name, which may have several."""
    if ":" not in host and not host.replace(".", "").isdigit():
        return None
    return [(int(socket.AF_INET6 if ":" in host else socket.AF_INET), (host, port))]


def new_socket(address: Address) -> socket.socket:
    """A socket that does not block and sends what it is given at once."""
    sock = socket.socket(address[0], socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _by_turns(addresses: list[Address]) -> Iterator[Address]:
    """The families by turns, beginning with the one that the resolver puts first."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    for place in range(max(len(first), len(others))):
        yield from first[place : place + 1]
        yield from others[place : place + 1]
