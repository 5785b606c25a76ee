"""Names of keys and channels in Redis.

All keys of one installation have the same hash tag, so that on a cluster they lie on one node and one script
may use them together. ``namespace`` keeps installations, and tests, apart.
"""

from dataclasses import dataclass

MANIFEST_FIELD = "manifest"
SIGNATURE_FIELD = "signature"  # of the manifest, where controllers sign
PLACE_FIELDS = ("lineage", "epoch", "seq")  # of the generation that the manifest names
HEARTBEAT_FIELD = "heartbeat"  # Unix milliseconds; the leader writes it once a second


@dataclass(frozen=True, slots=True)
class Keys:
    """Redis keys and pub/sub channels of one installation."""

    namespace: str = "tieline"

    def _key(self, name: str) -> str:
        return f"{{{self.namespace}}}:{name}"

    @property
    def routes(self) -> str:
        """Hash: the fields ``manifest``, ``heartbeat`` and those of ``PLACE_FIELDS``, and for each route a
        field ``slice:<workload>/<origin>``."""
        return self._key("routes")

    @property
    def routes_hint(self) -> str:
        """Channel: a hint after each new table (``table_hints``). Only a hint: it may be lost."""
        return self._key("routes-hint")

    @property
    def adoption(self) -> str:
        """String: that the lineage of a new history of Kafka follows others, which `adopt-lineage` wrote."""
        return self._key("adoption")

    @property
    def overlay(self) -> str:
        """String: the signed emergency overlay. A new one is announced on ``overlay_hint``."""
        return self._key("overlay")

    @property
    def overlay_hint(self) -> str:
        """Channel: the id of each new overlay. It is apart from ``routes_hint``, so that operators, who issue
        overlays, need not be allowed to publish where controllers announce tables."""
        return self._key("overlay-hint")

    @property
    def holders(self) -> str:
        """Hash: digests of ids that providers gave, with the pool that holds each. Written by clients."""
        return self._key("holders")

    @property
    def holders_order(self) -> str:
        """Sorted set: the same digests by the time at which each is forgotten, in Unix ms."""
        return self._key("holders-order")

    @property
    def tables_hint(self) -> str:
        """Channel: ``<writer> <table> <field>`` after each material write. Only a hint: it may be lost."""
        return self._key("tables-hint")

    def controller(self, identity: str) -> str:
        """String that expires by itself: a controller wrote it to find out whether it can."""
        return self._key(f"controller:{identity}")

    def table(self, name: str) -> str:
        """Hash: one live table (health, statements, capacity, demand or progress)."""
        return self._key(f"table:{name}")


def slice_field(route_name: str) -> str:
    """The field of ``Keys.routes`` that holds a route's slice."""
    return f"slice:{route_name}"
