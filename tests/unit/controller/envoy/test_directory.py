"""The order in which files are renamed: after each step Envoy finds everything that is named."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

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

    def _write(self, name: str, data: bytes) -> None:
        super()._write(name, data)
        if self.is_complete():
            self._look()

    def _look(self) -> None:
        self.looks += 1
        clusters, listeners = self._names(CLUSTERS), self._names(LISTENERS)
        watched = {
            row["name"]: Path(row["eds_cluster_config"]["eds_config"]["path_config_source"]["path"])
            for row in self._read(CLUSTERS)
            if row["type"] == "EDS"
        }
        used = {
            route["route"]["cluster"]
            for route in self._read(ROUTES)[0]["virtual_hosts"][0]["routes"]
            if "route" in route
        }
        assert used <= watched.keys()
        endpoints = {name: self._read(str(file)) for name, file in watched.items()}
        assert all(row["cluster_name"] == name for name, rows in endpoints.items() for row in rows)
        for name in used:
            for pool in hosts(endpoints[name][0], 0):
                assert f"pool/{pool}" in listeners
                assert pool in clusters
        for listener in self._read(LISTENERS):
            manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
            assert Path(manager["rds"]["config_source"]["path_config_source"]["path"]).exists()

    def _read(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = msgspec.json.decode((self.path / name).read_bytes())["resources"]
        return rows

    def _names(self, name: str) -> set[str]:
        return {row["name"] for row in self._read(name)}


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
    assert set(directory.write(resources(plan, places(tmp_path)))) == files_in(tmp_path)
    assert directory.is_complete()
    assert directory.write(resources(plan, places(tmp_path))) == ()
    share = next(share for lane in plan.lanes for share in lane.shares.pools)
    lanes = tuple(_reweighted(lane, share.info.pool) for lane in plan.lanes)
    other = msgspec.structs.replace(plan, lanes=lanes)
    changed = directory.write(resources(other, places(tmp_path)))
    assert changed
    assert all(name.startswith(ENDPOINTS) for name in changed)
    assert list(tmp_path.rglob("*.new")) == []


def test_files_that_nothing_names_are_removed(tmp_path: Path) -> None:
    """After a table that has nothing in common with the former one."""
    directory = ResourceDirectory(tmp_path)
    for seed in (3, 4):
        made = resources(plan_of(random_table(seed)), places(tmp_path))
        directory.write(made)
        assert files_in(tmp_path) == made.files().keys()


async def test_more_files_than_envoy_may_watch_are_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the remedy: an Envoy that is refused an inotify instance ends itself."""
    few = resources(plan_of(random_table(3)), places(tmp_path))
    directory = ResourceDirectory(tmp_path, watchers_max=few.watchers() - 1)
    for _ in range(2):
        await directory.put(few, has_table=True)
    assert capsys.readouterr().out.count("fs.inotify.max_user_instances") == 1
    await ResourceDirectory(tmp_path, watchers_max=few.watchers()).put(few, has_table=True)
    assert "fs.inotify" not in capsys.readouterr().out


def files_in(path: Path) -> set[str]:
    """The names of all files."""
    return {file.relative_to(path).as_posix() for file in path.rglob("*.json")}


def _reweighted(lane: Any, pool: str) -> Any:
    pools = tuple(
        msgspec.structs.replace(share, weight=share.weight + 1) if share.info.pool == pool else share
        for share in lane.shares.pools
    )
    return msgspec.structs.replace(lane, shares=msgspec.structs.replace(lane.shares, pools=pools))
