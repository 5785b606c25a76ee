"""The settings of every status feed, and the way from its entries to statements. Pure.

A feed reads its body into a ``View``: incidents and windows with the names that the feed uses. Here the names
are mapped, and every region of the settings gets its statements.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import Meta

from controller.collect.collector import Findings, OneUrl, Stamp
from controller.core.policy.check import Fault, near_miss
from controller.core.policy.policy import Policy
from tieline.event_fields import PoolId, ProviderId, RegionId
from tieline.events import Claim, Statement, in_scope, pool_of

WINDOWS_PER_REGION_MAX = 100
NAMES_PER_ENTRY_MAX = 1_000
EVERYWHERE = "*"
ANY_PRODUCT = "*"
IllState: TypeAlias = Literal["degraded", "down"]
FeedKind: TypeAlias = Literal["status", "maintenance"]
FeedName = Annotated[str, Meta(min_length=1, max_length=200)]
Regions = Annotated[tuple[RegionId, ...], Meta(min_length=1, max_length=200)]
Pools = Annotated[tuple[PoolId, ...], Meta(max_length=200)]


class Incident(NamedTuple):
    """Something is not well now. ``places`` and ``products``: the feed's names."""

    state: IllState
    places: frozenset[str]
    products: frozenset[str]
    text: str


class Window(NamedTuple):
    """Announced maintenance. ``ends_ms`` None: it goes on until the feed no longer names it."""

    starts_ms: int
    ends_ms: int | None
    places: frozenset[str]
    products: frozenset[str]
    text: str


class View(NamedTuple):
    """What a body says. ``unread``: how many of its parts could not be read."""

    incidents: tuple[Incident, ...]
    windows: tuple[Window, ...] = ()
    unread: int = 0


class StatusFeed(OneUrl, frozen=True, kw_only=True):
    """What every status feed has besides the settings of ``Collector``.

    ``regions``: the feed's names of places -> regions of ``provider``; ``*`` stands for all that are named
    here. ``products``: the feed's names of products -> the pools that depend on them; without pools all of
    the region. The name ``*`` stands for every product. Names are compared without case, spaces and marks.
    ``unplaced``: the regions for which an entry counts that names no place. ``expires_after_s``: for how long
    a claim counts after the last good round. ``maintenance``: whether windows are stated. ``window_max_s``: a
    longer window is not stated, because it would keep pools empty for too long on a page's word.
    """

    provider: ProviderId
    regions: Annotated[dict[FeedName, Regions], Meta(min_length=1, max_length=1_000)]
    products: Annotated[dict[FeedName, Pools], Meta(min_length=1, max_length=1_000)]
    unplaced: Annotated[tuple[RegionId, ...], Meta(max_length=200)] = ()
    expires_after_s: Annotated[float, Meta(ge=60, le=86_400)] = 600.0
    maintenance: bool = True
    window_max_s: Annotated[float, Meta(ge=60, le=2_592_000)] = 86_400.0

    @abstractmethod
    def view(self, bodies: tuple[bytes, ...], now_ms: int) -> View:
        """What the bodies say. Raises ``UnreadableError``."""

    def read(self, bodies: tuple[bytes, ...], stamp: Stamp) -> Findings:
        """A statement of each kind for each region."""
        return _Placing(self, stamp).findings(self.view(bodies, stamp.now_ms))

    def faults(self) -> Iterator[Fault]:
        """See ``Collector``."""
        if self.expires_after_s < 2 * self.interval_s:
            text = "must be at least twice interval_s, or claims end between two rounds"
            yield Fault(("expires_after_s",), text)
        named = self.named_regions()
        for name, pools in self.products.items():
            for place, pool in enumerate(pools):
                if pool_of(pool)[0] != self.provider or pool_of(pool)[1] not in named:
                    text = f"{pool} is in no region of {self.provider} that regions names"
                    yield Fault(("products", name, place), text)
        for place, region in enumerate(self.unplaced):
            if region not in (EVERYWHERE, *named):
                yield Fault(("unplaced", place), f"regions does not name {region}{near_miss(region, named)}")

    def policy_faults(self, policy: Policy) -> Iterator[Fault]:
        """See ``Collector``."""
        providers = {provider.id for provider in policy.providers}
        if self.provider not in providers:
            what = f"unknown provider {self.provider}{near_miss(self.provider, providers)}"
            yield Fault(("provider",), what)
            return
        existing = {pool.region for pool in policy.pools if pool.provider == self.provider}
        for name, regions in self.regions.items():
            for place, region in enumerate(regions):
                if region not in (EVERYWHERE, *existing):
                    what = f"{self.provider} has no pool in {region}{near_miss(region, existing)}"
                    yield Fault(("regions", name, place), what)
        pool_ids = {pool.id for pool in policy.pools}
        for name, pools in self.products.items():
            for place, pool in enumerate(pools):
                if pool not in pool_ids:
                    yield Fault(("products", name, place), f"unknown pool {pool}{near_miss(pool, pool_ids)}")
        yield from self._scope_faults(policy)

    def named_regions(self) -> tuple[str, ...]:
        """All regions that the settings name."""
        regions = {region for entry in self.regions.values() for region in entry}
        return tuple(sorted(regions - {EVERYWHERE}))

    def _scope_faults(self, policy: Policy) -> Iterator[Fault]:
        """A claim on a whole region outside the source's scope would be refused."""
        scope = next((source.scope for source in policy.sources if source.id == self.name), "*")
        pools = {pool for entry in self.products.values() for pool in entry}
        places = set(pools)
        if not all(self.products.values()):
            places |= {f"{self.provider}/{region}" for region in self.named_regions()}
        outside = sorted(place for place in places if not in_scope(place, scope))
        if outside:
            yield Fault(("name",), f"the policy lets this source speak of {scope} only, not of {outside[0]}")


def bare(name: str) -> str:
    """A name as it is compared: letters and digits without case."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


class _Placing:
    """One body's entries on their way to statements."""

    def __init__(self, feed: StatusFeed, stamp: Stamp) -> None:
        self._feed = feed
        self._stamp = stamp
        self._all = feed.named_regions()
        self._regions = {bare(name): self._spread(entry) for name, entry in feed.regions.items()}
        self._products = {bare(name): pools for name, pools in feed.products.items() if name != ANY_PRODUCT}
        self._unmatched: set[str] = set()
        self._expires_ms = stamp.now_ms + round(feed.expires_after_s * 1_000)

    def findings(self, view: View) -> Findings:
        claims: dict[FeedKind, dict[str, tuple[Claim, ...]]] = {
            "status": self._incident_claims(view.incidents)
        }
        if self._feed.maintenance:
            claims["maintenance"] = self._window_claims(view.windows)
        statements = [
            self._statement(region, kind, by_region.get(region, ()))
            for kind, by_region in claims.items()
            for region in self._all
            if by_region.get(region) or not view.unread
        ]
        return Findings(tuple(statements), frozenset(self._unmatched), view.unread)

    def _statement(self, region: str, kind: FeedKind, claims: tuple[Claim, ...]) -> Statement:
        stamp = self._stamp
        return Statement(
            source=stamp.source,
            provider=self._feed.provider,
            region=region,
            kind=kind,
            incarnation=stamp.incarnation,
            sequence=stamp.sequence,
            issued_ms=stamp.now_ms,
            claims=claims,
        )

    def _incident_claims(self, incidents: Iterable[Incident]) -> dict[str, tuple[Claim, ...]]:
        """One claim for each region, set of pools and state, so that their number has a bound."""
        texts: dict[tuple[str, IllState, tuple[str, ...]], list[str]] = defaultdict(list)
        for incident in incidents:
            for region, pools in self._places(incident):
                texts[region, incident.state, pools].append(incident.text)
        claims: dict[str, list[Claim]] = defaultdict(list)
        for (region, state, pools), entries in sorted(texts.items()):
            more = f" (and {len(entries) - 1} more)" if len(entries) > 1 else ""
            claims[region].append(
                Claim(state=state, expires_ms=self._expires_ms, pools=pools, text=entries[0] + more)
            )
        return {region: tuple(entries) for region, entries in claims.items()}

    def _window_claims(self, windows: Iterable[Window]) -> dict[str, tuple[Claim, ...]]:
        claims: dict[str, list[Claim]] = defaultdict(list)
        for window in sorted(windows):
            if (times_ms := self._times(window)) is None:
                continue
            starts_ms, ends_ms = times_ms
            for region, pools in self._places(window):
                claim = Claim(
                    state="maintenance",
                    expires_ms=ends_ms,
                    starts_ms=starts_ms,
                    pools=pools,
                    text=window.text,
                )
                if claim not in claims[region] and len(claims[region]) < WINDOWS_PER_REGION_MAX:
                    claims[region].append(claim)
        return {region: tuple(entries) for region, entries in claims.items()}

    def _times(self, window: Window) -> tuple[int | None, int] | None:
        """When the claim begins (None: now) and ends; None for a window that is not stated."""
        now_ms = self._stamp.now_ms
        starts_ms = window.starts_ms if window.starts_ms > now_ms else None
        ends_ms = (
            window.ends_ms
            if window.ends_ms is not None
            else max(window.starts_ms, now_ms) + (self._expires_ms - now_ms)
        )
        if ends_ms <= max(window.starts_ms, now_ms):
            return None
        if ends_ms - window.starts_ms > self._feed.window_max_s * 1_000 and window.ends_ms is not None:
            self._unmatched.add(f"a window longer than window_max_s: {window.text}")
            return None
        return starts_ms, ends_ms

    def _places(self, entry: Incident | Window) -> list[tuple[str, tuple[str, ...]]]:
        """The regions of an entry, each with its pools; no pools stand for the whole region."""
        regions = self._regions_of(entry)
        pools = self._pools_of(entry) if regions else None
        if pools is None:
            return []
        if not pools:
            return [(region, ()) for region in regions]
        by_region = {
            region: tuple(pool for pool in pools if pool_of(pool)[1] == region) for region in regions
        }
        return [(region, own) for region, own in by_region.items() if own]

    def _regions_of(self, entry: Incident | Window) -> list[str]:
        if not entry.places:
            regions = set(self._spread(self._feed.unplaced))
            if not regions:
                self._unmatched.add(f"an entry without a place: {entry.text}")
            return sorted(regions)
        return sorted({region for name in entry.places for region in self._matched(name, self._regions)})

    def _pools_of(self, entry: Incident | Window) -> tuple[str, ...] | None:
        """The pools that depend on the entry's products, all of them if empty; None if nothing does."""
        lists = [self._products[bare(name)] for name in entry.products if bare(name) in self._products]
        if not lists and ANY_PRODUCT in self._feed.products:
            lists = [self._feed.products[ANY_PRODUCT]]
        if not lists:
            self._unmatched.update(entry.products or (f"an entry without a product: {entry.text}",))
            return None
        return tuple(sorted({pool for pools in lists for pool in pools})) if all(lists) else ()

    def _matched(self, name: str, mapped: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
        regions = mapped.get(bare(name), ())
        if not regions:
            self._unmatched.add(name)
        return regions

    def _spread(self, regions: tuple[str, ...]) -> tuple[str, ...]:
        return self._all if EVERYWHERE in regions else regions
