"""The settings of every status feed. A feed reads its body into a ``View``, and ``placing`` maps its names.
Pure."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from msgspec import Meta

from controller.collect.collector import Findings, OneUrl, Stamp
from controller.collect.feeds.placing import EVERYWHERE, GLOBAL, Placing, View, bare
from controller.core.policy.check import Fault, near_miss
from controller.core.policy.policy import Policy
from tieline.event_fields import PoolId, ProviderId, RegionId
from tieline.events import in_scope, pool_of

FeedName = Annotated[str, Meta(min_length=1, max_length=200)]
Regions = Annotated[tuple[RegionId, ...], Meta(min_length=1, max_length=200)]
Pools = Annotated[tuple[PoolId, ...], Meta(max_length=200)]


class StatusFeed(OneUrl, frozen=True, kw_only=True):
    """What every status feed has besides the settings of ``Collector``.

    ``regions``: the feed's names of places -> regions of ``provider``; ``*`` stands for all that are named
    here, and the name ``global`` means all of them unless it is mapped to others. ``products``: the feed's
    names of products -> the pools that depend on them; without pools all of the region. The name ``*`` stands
    for every product. Names are compared without case, spaces and marks. ``unplaced``: the regions for which
    an entry counts that names no place. ``expires_after_s``: for how long a claim counts after the last good
    round. ``maintenance``: whether windows are stated. ``window_max_s``: a longer window is not stated,
    because it would keep pools empty for too long on a page's word.
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
        return Placing(self, stamp).findings(self.view(bodies, stamp.now_ms))

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

    def split(self, names: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
        """(places, products) among names of which the feed does not say what they are: a name that
        ``regions`` has is a place."""
        mapped = {bare(name) for name in (GLOBAL, *self.regions)}
        places = frozenset(name for name in names if bare(name) in mapped)
        return places, frozenset(names) - places

    def chosen_names(self, parts: Iterable[Mapping[str, Any]], fields: tuple[str, ...]) -> frozenset[str]:
        """One name for each part: of those in its ``fields`` the first that the settings map, else the
        first."""
        mapped = {bare(name) for name in (GLOBAL, *self.regions, *self.products)}
        chosen = set()
        for part in parts:
            names = [name for field in fields if isinstance(name := part.get(field), str) and name.strip()]
            if names:
                chosen.add(next((name for name in names if bare(name) in mapped), names[0]).strip())
        return frozenset(chosen)

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
