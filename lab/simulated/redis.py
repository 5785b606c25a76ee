"""Redis as far as Tieline uses it: strings, hashes, expiry, channels, and scripts that real Lua runs.

Commands happen at the server, one at a time. ``SimRedis`` can be emptied, taken back to an older copy, be
read-only or out of memory, and lose the last writes as a failover to a lagging replica does: ``journal``
keeps a copy for each second.
"""

import weakref
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha1
from typing import Any, TypeAlias

import lupa.lua51 as lua
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError

from lab.simulated.clocks import START_MS
from lab.simulated.network import Network

SERVER = "redis"
COPIES_MAX = 120
WRITES = frozenset(("SET", "HSET", "HDEL", "DEL", "INCR", "EXPIRE"))
Hash: TypeAlias = dict[bytes, bytes]
Value: TypeAlias = bytes | Hash
Subscriber: TypeAlias = Callable[[bytes, bytes], None]


def as_bytes(value: Any) -> bytes:
    """An argument of a command as Redis gets it."""
    if isinstance(value, bytes):
        return value
    return str(value).encode()


class SimRedis:
    """One server, whose data is ``data``. ``refusal``: raised by every write while it is set."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.data: dict[bytes, Value] = {}
        self.expires_ms: dict[bytes, float] = {}
        self.loses_hints = False  # what is published reaches nobody
        self.refusal: type[ReadOnlyError] | type[OutOfMemoryError] | None = None
        self.journal: list[tuple[float, dict[bytes, Value]]] = []
        self.subscribers: dict[bytes, list[Subscriber]] = {}
        self.commands = 0
        self.on_script: list[Callable[[str, bytes], None]] = []  # told of the process and the script
        self.sender = ""  # the process whose commands are executed now
        self._scripts: dict[str, bytes] = {}
        self._runtime = _Lua(self)

    def empty(self) -> None:
        """As FLUSHALL: data and scripts are gone."""
        self.data.clear()
        self.expires_ms.clear()
        self._scripts.clear()

    def take_back(self, seconds: float) -> None:
        """Becomes what it was so many seconds ago."""
        limit_ms = self.network.now_ms() - seconds * 1_000
        older = [copy for at_ms, copy in self.journal if at_ms <= limit_ms]
        self.data = _copied(older[-1]) if older else {}
        self.expires_ms.clear()

    def keep_copy(self) -> None:
        """Remembers its data as they are now, for ``take_back``."""
        self.journal.append((self.network.now_ms(), _copied(self.data)))
        del self.journal[:-COPIES_MAX]

    def refuse_writes(self) -> None:
        """Raises if writes are refused now."""
        if self.refusal is not None:
            raise self.refusal("refused")

    def wall_ms(self) -> int:
        """Its wall clock, which is right."""
        return START_MS + round(self.network.now_ms())

    def execute(self, *arguments: Any) -> Any:
        """One command, by the name that Redis gives it. Raises what redis-py raises for its answers."""
        name = arguments[0]
        self.commands += 1
        if name in WRITES:
            self.refuse_writes()
        key = as_bytes(arguments[1])
        if key in self.expires_ms and self.expires_ms[key] <= self.network.now_ms():
            self.data.pop(key, None)
            del self.expires_ms[key]
        return getattr(self, _method(name))(*arguments[1:])

    # Strings and keys.

    def _get(self, key: Any) -> bytes | None:
        value = self.data.get(as_bytes(key))
        if isinstance(value, dict):
            raise ResponseError("WRONGTYPE")
        return value

    def _set(self, key: Any, value: Any, *, nx: bool = False, until_ms: float | None = None) -> bool | None:
        name = as_bytes(key)
        if nx and name in self.data:
            return None
        self.data[name] = as_bytes(value)
        self.expires_ms.pop(name, None)
        if until_ms is not None:
            self.expires_ms[name] = until_ms
        return True

    def _incr(self, key: Any) -> int:
        number = int(self._get(key) or b"0") + 1
        self.data[as_bytes(key)] = as_bytes(number)
        return number

    def _expire(self, key: Any, seconds: Any) -> int:
        name = as_bytes(key)
        if name in self.data:
            self.expires_ms[name] = self.network.now_ms() + int(seconds) * 1_000
        return int(name in self.data)

    def _del(self, *keys: Any) -> int:
        return sum(self.data.pop(as_bytes(key), None) is not None for key in keys)

    # Hashes.

    def _fields(self, key: Any) -> Hash:
        value = self.data.get(as_bytes(key), {})
        if not isinstance(value, dict):
            raise ResponseError("WRONGTYPE")
        return value

    def _hget(self, key: Any, field: Any) -> bytes | None:
        return self._fields(key).get(as_bytes(field))

    def _hlen(self, key: Any) -> int:
        return len(self._fields(key))

    def _hgetall(self, key: Any) -> Hash:
        return dict(self._fields(key))

    def _hmget(self, key: Any, *fields: Any) -> list[bytes | None]:
        row = self._fields(key)
        return [row.get(as_bytes(field)) for field in fields]

    def _hset(self, key: Any, *pairs: Any) -> int:
        row = self.data.setdefault(as_bytes(key), {})
        if not isinstance(row, dict):
            raise ResponseError("WRONGTYPE")
        for field, value in zip(pairs[::2], pairs[1::2], strict=True):
            row[as_bytes(field)] = as_bytes(value)
        return len(pairs) // 2

    def _hdel(self, key: Any, *fields: Any) -> int:
        row = self._fields(key)
        return sum(row.pop(as_bytes(field), None) is not None for field in fields)

    # Channels and scripts.

    def _publish(self, channel: Any, message: Any) -> int:
        name = as_bytes(channel)
        subscribers = [] if self.loses_hints else list(self.subscribers.get(name, ()))
        for subscriber in subscribers:
            subscriber(name, as_bytes(message))
        return len(subscribers)

    def _script(self, text: Any) -> str:
        script = as_bytes(text)
        digest = sha1(script, usedforsecurity=False).hexdigest()
        self._scripts[digest] = script
        return digest

    def _evalsha(self, digest: str, count: int, *arguments: Any) -> Any:
        script = self._scripts.get(digest)
        if script is None:
            raise NoScriptError("NOSCRIPT")
        answer = self._runtime.run(script, arguments[:count], arguments[count:])
        for listener in self.on_script:
            listener(self.sender, script)
        return answer


@cache
def _method(name: str) -> str:
    """What the command of this name is called in ``SimRedis``."""
    return f"_{name.lower()}"


@cache
def _name(name: bytes) -> str:
    """A command's name as a script writes it -> as ``SimRedis.execute`` takes it."""
    return name.decode().upper()


def _copied(data: dict[bytes, Value]) -> dict[bytes, Value]:
    return {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}


@cache
def _interpreter() -> Any:
    return lua.LuaRuntime(encoding=None)


@cache
def _compiled(script: bytes) -> Any:
    return _interpreter().execute(b"return function(KEYS, ARGV, redis)\n" + script + b"\nend")


class _Lua:
    """Runs scripts with the conversions that Redis documents: nil is false, a missing bulk too."""

    def __init__(self, server: SimRedis) -> None:
        self._server = server
        # The interpreter outlives this world, and must not keep it.
        call = weakref.WeakMethod(self._call)
        self._redis = _interpreter().table_from({b"call": lambda *words: call()(*words)})  # type: ignore[misc]

    def run(self, script: bytes, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """The answer of a script."""
        table = _interpreter().table_from
        answer = _compiled(script)(
            table([as_bytes(key) for key in keys]),
            table([as_bytes(argument) for argument in arguments]),
            self._redis,
        )
        return _answer(answer)

    def _call(self, name: bytes, *arguments: bytes) -> Any:
        value = self._server.execute(_name(name), *arguments)
        if isinstance(value, list):
            return _interpreter().table_from([False if item is None else item for item in value])
        return False if value is None else value


def _answer(value: Any) -> Any:
    if value is None or value is False:
        return None
    if isinstance(value, bytes):
        return value
    if isinstance(value, int | float):
        return int(value)
    return [_answer(value[place]) for place in range(1, len(value) + 1)]
