"""Several Valkey servers that outlive the loss of one: behind three Sentinels, or as a cluster.

Both replace a lost primary within some five seconds. Their limits for that are lower than the usual ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from controller.process.redis_reader import RedisReader, RedisUnreadError
from lab.stack.group import ServerGroup
from lab.stack.server import LOOPBACK, Server
from lab.stack.valkey import Valkey, binary, valkey_answers
from tieline.keys import Keys
from tieline.redis_primary import SLOTS

SERVICE = "tieline"
SENTINELS, QUORUM = 3, 2
DOWN_AFTER_MS = 2_000
FAILOVER_WITHIN_MS = 10_000
# Servers and Sentinels log in as this user, so that a test can cut them off from a server.
SERVERS_USER, SERVERS_PASSWORD = "servers", "servers"
PRIMARIES = 3
NODE_TIMEOUT_MS = 2_000


class Sentinel(Server):
    """Watches a primary, and makes a replica the primary when most Sentinels agree that it is gone."""

    def __init__(self, place: Path, number: int, primary: Valkey) -> None:
        """`primary` is the one that it watches at first."""
        super().__init__(place)
        self.name = f"Sentinel {number}"
        self._primary = primary
        self._settings = place / "sentinel.conf"

    async def prepare(self) -> None:
        """Writes its settings before its first life; what it learns later it keeps in the same file."""
        if self.pid:
            return
        lines = (
            f"port {self.port}",
            f"bind {LOOPBACK}",
            f"dir {self.place}",
            f"sentinel monitor {SERVICE} {LOOPBACK} {self._primary.port} {QUORUM}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} {FAILOVER_WITHIN_MS}",
            f"sentinel auth-user {SERVICE} {SERVERS_USER}",
            f"sentinel auth-pass {SERVICE} {SERVERS_PASSWORD}",
        )
        self._settings.write_text("".join(f"{line}\n" for line in lines))

    def command(self) -> list[str]:
        """Valkey as a Sentinel."""
        return [str(binary()), str(self._settings), "--sentinel"]

    async def answers(self) -> bool:
        """Whether it answers a PING."""
        return await valkey_answers(self.port)


class WatchedServer(Valkey):
    """One of the servers behind Sentinels. `primary`: the one that it follows in its first life."""

    def __init__(self, place: Path, primary: Valkey | None = None) -> None:
        super().__init__(place)
        self._primary = primary

    def command(self) -> list[str]:
        """Later lives begin alone: the Sentinels make it follow whoever is the primary then."""
        words = ["--user", SERVERS_USER, "on", f">{SERVERS_PASSWORD}", "~*", "&*", "+@all"]
        words += ["--masteruser", SERVERS_USER, "--masterauth", SERVERS_PASSWORD]
        if self._primary is not None and not self.pid:
            words += ["--replicaof", LOOPBACK, str(self._primary.port)]
        return [*super().command(), *words]

    async def cut_off(self) -> None:
        """The Sentinels and the other server lose it, as by a cut in the network.

        Clients that are connected stay so. Nobody else is let in without the password of the servers.
        """
        async with RedisReader(f"redis://{LOOPBACK}:{self.port}", Keys()) as reader:
            await reader.ask(
                ("ACL", "SETUSER", SERVERS_USER, "off"),
                ("ACL", "SETUSER", "default", "resetpass", f">{SERVERS_PASSWORD}"),
                ("CLIENT", "KILL", "USER", SERVERS_USER),
            )


class WatchedValkey(ServerGroup):
    """A primary and a replica, watched by three Sentinels. `servers` are the first two."""

    name = "Valkey"

    def __init__(self, place: Path) -> None:
        first = WatchedServer(place / "1")
        self.servers = [first, WatchedServer(place / "2", first)]
        self.sentinels = [
            Sentinel(place / f"sentinel-{number}", number, first) for number in range(1, SENTINELS + 1)
        ]
        super().__init__([*self.servers, *self.sentinels])

    @property
    def url(self) -> str:
        """The setting TIELINE_REDIS."""
        places = ",".join(f"{LOOPBACK}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{SERVICE}/0"

    async def formed(self) -> bool:
        """Whether every Sentinel knows the replica and the other Sentinels."""
        wanted = {b"num-other-sentinels": SENTINELS - 1, b"num-slaves": len(self.servers) - 1}
        for sentinel in self.sentinels:
            reply = await ask(sentinel, "SENTINEL", "MASTER", SERVICE) or []
            facts = dict(zip(reply[::2], reply[1::2], strict=True))
            if any(int(facts.get(name, -1)) != count for name, count in wanted.items()):
                return False
        return True

    async def primary(self, namespace: str) -> WatchedServer | None:
        """The server that has the keys of a namespace, which is the only primary, by the first Sentinel that
        answers; None if none does."""
        del namespace
        for sentinel in self.sentinels:
            if place := await ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE):
                return next((server for server in self.servers if server.port == int(place[1])), None)
        return None


class ClusterNode(Valkey):
    """One node of a cluster. Its second port is for the other nodes."""

    ports_needed = 2

    def command(self) -> list[str]:
        """A node keeps its place in the cluster in a file, over its lives."""
        settings = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-port": str(self.ports[1]),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
        }
        return [
            *super().command(),
            *(word for key, value in settings.items() for word in (f"--{key}", value)),
        ]


class ValkeyCluster(ServerGroup):
    """Three primaries with a third of the slots each, and a replica of each: `servers`, primaries first."""

    name = "Valkey"

    def __init__(self, place: Path) -> None:
        self.servers = [ClusterNode(place / str(number)) for number in range(1, 2 * PRIMARIES + 1)]
        super().__init__(self.servers)
        self._introduced = True
        for server in self.servers:
            (server.place / "nodes.conf").unlink(missing_ok=True)  # the data of an earlier run is gone too

    @property
    def url(self) -> str:
        """The setting TIELINE_REDIS."""
        places = ",".join(f"{LOOPBACK}:{server.port}" for server in self.servers)
        return f"redis+cluster://{places}"

    async def start(self) -> None:
        """Starts the nodes that don't run; the first time it also makes them a cluster. Raises ChildError."""
        is_first = not any(server.pid for server in self.servers)
        await self.start_all()
        if is_first:
            await self._introduce()
        await self.until_formed()

    async def _introduce(self) -> None:
        """Gives each primary its slots, and tells the first node where the others are."""
        bounds = [number * SLOTS // PRIMARIES for number in range(PRIMARIES + 1)]
        for number, server in enumerate(self.servers[:PRIMARIES]):
            await ask(server, "CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            await ask(server, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            await ask(self.servers[0], "CLUSTER", "MEET", LOOPBACK, server.port, server.ports[1])
        self._introduced = False

    async def formed(self) -> bool:
        """Whether every node sees all slots and a replica of each."""
        if not self._introduced:
            self._introduced = await self._give_replicas()
        return self._introduced and all([await _is_whole(server) for server in self.servers])

    async def _give_replicas(self) -> bool:
        """Whether every replica has taken its primary, which it can once it has heard of it."""
        primaries, replicas = self.servers[:PRIMARIES], self.servers[PRIMARIES:]
        answers = [
            await ask(replica, "CLUSTER", "REPLICATE", (await ask(primary, "CLUSTER", "MYID")).decode())
            for primary, replica in zip(primaries, replicas, strict=True)
        ]
        return all(answer == b"OK" for answer in answers)

    async def primary(self, namespace: str) -> Valkey | None:
        """The node that has the keys of a namespace, by the first node that answers; None if none does."""
        for server in self.servers:
            if (slot := await ask(server, "CLUSTER", "KEYSLOT", Keys(namespace).routes)) is None:
                continue
            for first, last, (_host, port, *_id), *_replicas in await ask(server, "CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next((node for node in self.servers if node.port == port), None)
        return None


async def _is_whole(server: Valkey) -> bool:
    info, slots = await ask(server, "CLUSTER", "INFO"), await ask(server, "CLUSTER", "SLOTS")
    is_well = info is not None and b"cluster_state:ok" in info
    return is_well and len(slots) == PRIMARIES and all(len(row) == 4 for row in slots)


async def ask(server: Server, *words: str | int) -> Any:
    """A server's reply to one command; None if it can't be reached or refuses."""
    try:
        async with RedisReader(f"redis://{LOOPBACK}:{server.port}", Keys()) as reader:
            [reply] = await reader.ask(tuple(map(str, words)))
            return reply
    except RedisUnreadError:
        return None
