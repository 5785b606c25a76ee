"""The resources of a plan as Envoy asks for them over HTTP: its REST variant of xDS, by long polls.

A poll names a kind of resource, for some kinds the resource itself, and the version that this Envoy has. It
is answered at once where the version is another one. Otherwise it is held until there is a newer one, and
answered with 304 after a while (``Waits``). A version is a digest of what it stands for, so that an Envoy
that outlived this process is told nothing that it knows.

What is published keeps the order of ``directory``. First comes what nobody asks for yet. Then come clusters
and listeners, the former ones still among them; whatever names them follows when each Envoy has asked again
with the new version, or after a while. An Envoy that asks again with its former version has
refused what it was given, or has not received it: it goes on with what it has, and is given it again a
little later.

Tests: tests/unit/controller/envoy/test_discovery.py; with the real Envoy,
tests/integration/test_envoy_served.py.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import TypeAlias

import msgspec
from msgspec import Struct

from controller.envoy.resources import Resources, with_former
from controller.envoy.routes import ROUTES as ROUTE_TABLE
from controller.envoy.shapes import POLL_HELD_S, Resource
from controller.process.telemetry import logger

Key: TypeAlias = tuple[str, str]  # (kind, name of the resource, empty for all of a kind)
CLUSTERS, LISTENERS, ROUTES, ENDPOINTS, SECRETS = KINDS = (
    "clusters",
    "listeners",
    "routes",
    "endpoints",
    "secrets",
)
WHOLE = (CLUSTERS, LISTENERS)  # Envoy asks for all of these at once, and for the others one by one
SINGLE = (ROUTES, ENDPOINTS, SECRETS)
AWAITED: frozenset[Key] = frozenset({(CLUSTERS, ""), (LISTENERS, ""), (ROUTES, ROUTE_TABLE)})
ENVOYS_MAX, ANSWERS_MAX = 100, 200_000  # what is remembered; beyond it nobody is waited for
_encoder = msgspec.json.Encoder(order="deterministic")


class Waits(Struct, frozen=True):
    """``held_s``: how long a poll waits for something new. ``taken_over_s``: how long all wait for an Envoy
    that does not take over what it was told. ``refused_s``: until such an Envoy is told again."""

    held_s: float = POLL_HELD_S
    taken_over_s: float = 2.0
    refused_s: float = 2.0


class Poll(Struct, frozen=True):
    """One question. ``node``: which Envoy asks. ``version``: what it has; empty for nothing."""

    key: Key
    node: str
    version: str = ""


class Offer(Struct, frozen=True):
    """What a poll is answered with. ``body``: JSON."""

    version: str
    body: bytes


class Discovery:
    """What Envoys may ask for now."""

    def __init__(self, waits: Waits | None = None) -> None:
        self._waits = waits or Waits()
        self._offers: dict[Key, Offer] = {}
        self._encoded: dict[Key, tuple[list[Resource], Offer | None]] = {}
        self._waiting: dict[Key, set[asyncio.Event]] = {}
        self._answers: dict[tuple[str, Key], str] = {}  # what each Envoy was answered last, by node
        self._versions: dict[str, dict[Key, str]] = {}  # what each Envoy has of the kinds in WHOLE, by node
        self._resources: Resources | None = None
        self._has_table = False
        self._asked = asyncio.Event()
        self.refused = 0
        self._log = logger("envoy")

    @property
    def held(self) -> int:
        """How many polls wait for something new."""
        return sum(map(len, self._waiting.values()))

    async def put(self, resources: Resources, *, has_table: bool) -> tuple[str, ...]:
        """Publish resources, in an order in which each step is safe; gives the names of those that have
        changed. Those of a plan without a table are only for Envoys that have nothing."""
        before, self._resources = self._resources, resources
        is_first_table, self._has_table = has_table and not self._has_table, self._has_table or has_table
        single = self._made(resources, SINGLE)
        changed = self._publish({key: offer for key, offer in single.items() if key not in self._offers})
        if whole := self._publish(self._made(with_former(resources, before), WHOLE)):
            await self._taken_over()
        changed += whole + self._publish(single)
        whole_offers = self._made(resources, WHOLE)
        if any(self._offers[key] != offer for key, offer in whole_offers.items()):
            await self._taken_over()
            changed += self._publish(whole_offers)
        if is_first_table:  # Envoys that outlived an earlier process waited for it
            self._wake(self._waiting)
        for key in self._offers.keys() - single.keys() - whole_offers.keys():
            del self._offers[key]
            self._encoded.pop(key, None)
        return tuple(dict.fromkeys(changed))

    def _publish(self, offers: Mapping[Key, Offer]) -> list[str]:
        """Answers the polls that waited for what is new."""
        changed = [key for key, offer in offers.items() if self._offers.get(key) != offer]
        self._offers.update(offers)
        self._wake(changed)
        return ["/".join(key).strip("/") for key in changed]

    def _wake(self, keys: Iterable[Key]) -> None:
        for key in keys:
            for event in self._waiting.get(key, ()):
                event.set()

    async def _taken_over(self) -> None:
        """Returns when every Envoy has the clusters and listeners that are offered, or after a while."""
        try:
            async with asyncio.timeout(self._waits.taken_over_s):
                while any(not self._has_all(versions) for versions in self._versions.values()):
                    self._asked.clear()
                    await self._asked.wait()
        except TimeoutError:
            self._log.warning(
                "an Envoy has not taken over clusters or listeners in time; its log may say why"
            )
            self._versions.clear()

    def _has_all(self, versions: Mapping[Key, str]) -> bool:
        return all(self._offers[key].version == version for key, version in versions.items())

    async def answer(self, poll: Poll) -> Offer | None:
        """What there is for this poll, as soon as it is new to its Envoy; None when nothing has come in
        time."""
        refused = self._note(poll)
        event = asyncio.Event()
        waiting = self._waiting.setdefault(poll.key, set())
        waiting.add(event)
        try:
            async with asyncio.timeout(self._waits.refused_s if refused else self._waits.held_s):
                while (offer := self._new_to(poll)) is None or offer.version == refused:
                    event.clear()
                    await event.wait()
        except TimeoutError:
            offer = self._new_to(poll)
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(poll.key, None)
        if offer is not None and len(self._answers) < ANSWERS_MAX:
            self._answers[poll.node, poll.key] = offer.version
        return offer

    def _note(self, poll: Poll) -> str:
        """Remembers what an Envoy has; gives the version that it was answered and has not taken over, or
        nothing."""
        if poll.key in AWAITED and (poll.node in self._versions or len(self._versions) < ENVOYS_MAX):
            self._versions.setdefault(poll.node, {})[poll.key] = poll.version
            self._asked.set()
        former = self._answers.pop((poll.node, poll.key), "")
        if not poll.version or former in ("", poll.version):
            return ""
        self.refused += 1
        self._log.warning(
            "an Envoy has not taken over a resource; its log may say why",
            envoy=poll.node,
            kind=poll.key[0],
            name=poll.key[1],
        )
        return former

    def _new_to(self, poll: Poll) -> Offer | None:
        offer = self._offers.get(poll.key)
        if offer is None or offer.version == poll.version or (poll.version and not self._has_table):
            return None
        return offer

    def _made(self, resources: Resources, kinds: Collection[str]) -> dict[Key, Offer]:
        """What there is to answer for some kinds of resources, made anew only where a resource is another
        object than before."""
        by_kind: dict[str, Mapping[str, Resource]] = {
            CLUSTERS: resources.clusters,
            LISTENERS: resources.listeners,
            ROUTES: {**resources.routes, **resources.pool_routes},
            ENDPOINTS: resources.endpoints,
            SECRETS: resources.secrets,
        }
        rows: dict[Key, list[Resource]] = {}
        for kind in kinds:
            if kind in WHOLE:
                rows[kind, ""] = list(by_kind[kind].values())
            else:
                rows.update({(kind, name): [row] for name, row in by_kind[kind].items()})
        return {key: self._offer(key, of_key) for key, of_key in rows.items()}

    def _offer(self, key: Key, rows: list[Resource]) -> Offer:
        former, offer = self._encoded.get(key, ([], None))
        if (
            offer is None
            or len(former) != len(rows)
            or any(a is not b for a, b in zip(former, rows, strict=True))
        ):
            offer = _encoded(rows)
            self._encoded[key] = rows, offer
        return offer


def _encoded(rows: list[Resource]) -> Offer:
    """The answer with these resources, as Envoy's DiscoveryResponse is in JSON."""
    encoded = _encoder.encode(rows)
    version = blake2b(encoded, digest_size=12).hexdigest()
    kind = rows[0]["@type"] if rows else ""
    answer = {"version_info": version, "resources": msgspec.Raw(encoded), "type_url": kind}
    return Offer(version, _encoder.encode(answer))
