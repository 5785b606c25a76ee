"""Names in Redis that more than one part uses. All keys of one installation share one hash tag, so that one
script may touch them together on a cluster; ``namespace`` keeps installations (and tests) apart.
"""

from dataclasses import dataclass

MANIFEST_FIELD = "manifest"


@dataclass(frozen=True, slots=True)
class Keys:
    """Redis keys and pub/sub channels of one installation."""

    namespace: str = "tieline"

    def _key(self, name: str) -> str:
        return f"{{{self.namespace}}}:{name}"

    @property
    def routes(self) -> str:
        """Hash: field ``manifest`` and one field ``slice:<workload>/<origin>`` a route."""
        return self._key("routes")

    @property
    def routes_hint(self) -> str:
        """Channel: ``<generation> <urgent 0|1>`` after each projection. A hint, never the delivery."""
        return self._key("routes-hint")

    @property
    def overlay(self) -> str:
        """String: the signed emergency overlay. A new one is hinted at on ``routes_hint`` as urgent."""
        return self._key("overlay")

    @property
    def tables_hint(self) -> str:
        """Channel: ``<writer> <table> <field>`` after each material write. A hint, never the delivery."""
        return self._key("tables-hint")

    def table(self, name: str) -> str:
        """Hash of one live table: health, statements, capacity, demand, progress."""
        return self._key(f"table:{name}")


def slice_field(route_name: str) -> str:
    """The field of ``Keys.routes`` that holds a route's slice."""
    return f"slice:{route_name}"
