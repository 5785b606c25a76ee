"""The order in which files are renamed: after each step Envoy finds everything that is named."""

from pathlib import Path
from typing import Any

import msgspec

from controller.envoy.directory import ResourceDirectory
from controller.envoy.resources import CLUSTERS, ENDPOINTS, LISTENERS, ROUTES, resources
from tests.unit.controller.envoy.made_plans import places, plan_of, random_table
from tests.unit.controller.envoy.test_resources import hosts

SEEDS = range(25)


class Watched(ResourceDirectory):
    """Looks at the directory after each rename, as Envoy does."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.looks = 0

    def _rename(self, files: dict[str, bytes], names: tuple[str, ...]) -> list[str]:
        changed = []
        for name in names:
            changed += super()._rename(files, (name,))
            if changed and self.is_complete():
                self._look()
        return changed

    def _look(self) -> None:
        self.looks += 1
        clusters, listeners = self._names(CLUSTERS, "name"), self._names(LISTENERS, "name")
        endpoints = {row["cluster_name"]: row for row in self._read(ENDPOINTS)}
        for row in endpoints.values():
            for pool in hosts(row, 0):
                assert f"pool/{pool}" in listeners
                assert pool in clusters
        for table in self._read(ROUTES):
            for route in table["virtual_hosts"][0]["routes"]:
                if "route" in route:
                    assert route["route"]["cluster"] in clusters
                    assert route["route"]["cluster"] in endpoints

    def _read(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = msgspec.json.decode((self.path / name).read_bytes())["resources"]
        return rows

    def _names(self, name: str, field: str) -> set[str]:
        return {row[field] for row in self._read(name)}


def test_every_step_is_safe(tmp_path: Path) -> None:
    """Through one table after another that have nothing in common."""
    directory = Watched(tmp_path)
    for seed in SEEDS:
        directory.write(resources(plan_of(random_table(seed)), places(tmp_path)))
    assert directory.looks > len(SEEDS)


def test_what_stays_the_same_is_not_renamed(tmp_path: Path) -> None:
    """Other weights change one file, nothing changes none, and no half file stays behind."""
    directory = ResourceDirectory(tmp_path)
    plan = plan_of(random_table(3))
    assert not directory.is_complete()
    assert len(directory.write(resources(plan, places(tmp_path)))) == 6
    assert directory.is_complete()
    assert directory.write(resources(plan, places(tmp_path))) == ()
    share = next(share for lane in plan.lanes for share in lane.shares.pools)
    lanes = tuple(_reweighted(lane, share.info.pool) for lane in plan.lanes)
    other = msgspec.structs.replace(plan, lanes=lanes)
    assert directory.write(resources(other, places(tmp_path))) == (ENDPOINTS,)
    assert list(tmp_path.glob("*.new")) == []


def _reweighted(lane: Any, pool: str) -> Any:
    pools = tuple(
        msgspec.structs.replace(share, weight=share.weight + 1) if share.info.pool == pool else share
        for share in lane.shares.pools
    )
    return msgspec.structs.replace(lane, shares=msgspec.structs.replace(lane.shares, pools=pools))
