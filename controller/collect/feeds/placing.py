"""From the entries of a feed to statements: its names are mapped, and every region gets its statements.
Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from controller.collect.collector import Findings, Stamp
from tieline.events import Claim, Statement, pool_of

if TYPE_CHECKING:
    from controller.collect.feeds.status_feed import StatusFeed

WINDOWS_PER_REGION_MAX = 100
EVERYWHERE = "*"
ANY_PRODUCT = "*"
GLOBAL = "global"
IllState: TypeAlias = Literal["degraded", "down"]
FeedKind: TypeAlias = Literal["status", "maintenance"]


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


def bare(name: str) -> str:
    """A name as it is compared: letters and digits without case."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


class Placing:
    """One body's entries on their way to statements."""

    def __init__(self, feed: StatusFeed, stamp: Stamp) -> None:
        self._feed = feed
        self._stamp = stamp
        self._all = feed.named_regions()
        self._regions = {GLOBAL: self._all}
        self._regions |= {bare(name): self._spread(entry) for name, entry in feed.regions.items()}
        self._products = {bare(name): pools for name, pools in feed.products.items() if name != ANY_PRODUCT}
        self._unmatched: set[str] = set()
        self._expires_ms = stamp.now_ms + round(feed.expires_after_s * 1_000)

    def findings(self, view: View) -> Findings:
        """A statement of each kind for each region; none without claims if a part could not be read."""
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
        """One claim for each region and set of pools, with the worst state, so that their number has a
        bound."""
        by_place: dict[tuple[str, tuple[str, ...]], list[Incident]] = defaultdict(list)
        for incident in incidents:
            for region, pools in self._places(incident):
                by_place[region, pools].append(incident)
        claims: dict[str, list[Claim]] = defaultdict(list)
        for (region, pools), entries in sorted(by_place.items()):
            worst = next((entry for entry in entries if entry.state == "down"), entries[0])
            more = f" (and {len(entries) - 1} more)" if len(entries) > 1 else ""
            claims[region].append(
                Claim(state=worst.state, expires_ms=self._expires_ms, pools=pools, text=worst.text + more)
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
