"""When the files of Envoy are written, and when they stay as they are."""

import asyncio
from pathlib import Path

import pytest

import tieline
from controller.cli.envoy import read_place, read_route
from controller.envoy.bootstrap import Listening
from controller.envoy.directory import ResourceDirectory
from controller.envoy.follower import EnvoyFollower
from controller.envoy.plan import RouteName
from controller.envoy.resources import ENDPOINTS, LISTENERS, ROUTES
from controller.process.errors import SettingError
from tests.unit.client.made_tables import MODEL, generation, part
from tests.unit.controller.envoy.made_plans import places
from tieline import Outcome, ResultClass
from tieline.proxying import STRAIGHT_FAILURES, Proxied
from tieline.table import MILLION

A, B = "azure/uksouth/gpt", "gcp/europe/gemini"
ROUTE = RouteName("chat", "eu")


class Followed:
    """A follower of a client that is given its tables by the test."""

    def __init__(self, path: Path) -> None:
        self.client = tieline.AsyncClient("redis://127.0.0.1:1", workload="chat", origin="eu")
        self.proxied = Proxied(self.client)
        self.path = path
        directory = ResourceDirectory(path)
        self.follower = EnvoyFollower((ROUTE,), {"chat": self.proxied}, places(path), shelf=directory)

    def publish(self, seq: int, **weights: int) -> None:
        """A table with these weights, by the provider's name."""
        in_force = part({pool: weights[pool.split("/")[0]] for pool in (A, B)})
        self.client.core.router.apply(generation(in_force, seq))

    def look(self) -> bool:
        """One look of the follower."""
        return asyncio.run(self.follower.look())

    def text(self) -> str:
        """The endpoints of the lane of the model."""
        files = [path.read_text() for path in (self.path / ENDPOINTS).glob("*.json")]
        return next(text for text in files if f"chat/eu/{MODEL}" in text)


def test_without_a_table_callers_are_told_so(tmp_path: Path) -> None:
    """And Envoy can start already."""
    followed = Followed(tmp_path)
    assert followed.look()
    assert followed.follower.without_table == ("chat",)
    assert "no_table" in (tmp_path / ROUTES).read_text()


def test_files_of_an_earlier_process_outlive_a_start_without_a_table(tmp_path: Path) -> None:
    """Envoy goes on by them until there is a table again."""
    first = Followed(tmp_path)
    first.publish(1, azure=600_000, gcp=400_000)
    assert first.look()
    before = first.text()
    second = Followed(tmp_path)
    assert second.look()
    assert second.text() == before
    second.publish(2, azure=0, gcp=MILLION)
    assert second.look()
    assert A not in second.text()


def test_a_pool_that_fails_leaves_the_files_and_nothing_else_is_renamed(tmp_path: Path) -> None:
    """By the client's own rules; a look that finds nothing new renames nothing."""
    followed = Followed(tmp_path)
    followed.publish(1, azure=600_000, gcp=400_000)
    followed.look()
    renamed = followed.follower.changed
    followed.look()
    assert followed.follower.changed == renamed
    for _ in range(STRAIGHT_FAILURES):
        followed.proxied.report(A, Outcome(ResultClass.CONNECT), model=MODEL, origin="eu")
    followed.look()
    assert A not in followed.text()
    assert B in followed.text()
    assert f"pool/{A}" in (tmp_path / LISTENERS).read_text(), "it will be back in a moment"


def test_files_that_can_not_be_written_are_told_and_tried_again(tmp_path: Path) -> None:
    """Envoy goes on with the former ones."""
    followed = Followed(tmp_path / "envoy")
    (tmp_path / "envoy").write_text("a file in the directory's place")
    assert not followed.look()
    assert followed.follower.error
    (tmp_path / "envoy").unlink()
    assert followed.look()
    assert followed.follower.error == ""


@pytest.mark.parametrize("text", ["chat", "chat/", "/eu", "chat/eu/x", "a b/eu"])
def test_a_route_of_another_form_is_refused(text: str) -> None:
    """The error shows what is expected."""
    with pytest.raises(SettingError, match="workload/origin"):
        read_route(text)


def test_places_are_read(tmp_path: Path) -> None:
    """With an address of either family; without a port they are refused."""
    assert read_place("--listen", "[::1]:10000") == Listening("::1", 10_000)
    assert read_route("chat/eu") == ROUTE
    for text in ("10000", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1"):
        with pytest.raises(SettingError, match="--admin"):
            read_place("--admin", text)
