"""The largest flow, against answers that are plain to see."""

from lab.sim.flow import Claimant, Network, most_served


def claimant(rank: int, units: float, *pools: str, **share_left: float) -> Claimant:
    """Load that may go to these pools."""
    return Claimant(rank, units, pools, share_left=share_left)


def test_load_moves_on_so_that_other_load_finds_room() -> None:
    """The flexible route goes to b because the pinned one needs a."""
    claimants = {"pinned": claimant(3, 100.0, "x/r/a"), "free": claimant(0, 100.0, "x/r/a", "x/r/b")}
    assert most_served(claimants, {"x/r/a": 100.0, "x/r/b": 100.0}, {}, {}) == [100.0, 100.0, 100.0, 200.0]


def test_a_quota_group_and_a_provider_share_bind() -> None:
    """Two pools of one group carry what the group may; a provider no more than its share."""
    rooms = {"x/r/a": 100.0, "x/r/b": 100.0}
    grouped = most_served(
        {"all": claimant(0, 300.0, *rooms)}, rooms, {"g": 120.0}, {"x/r/a": ("g",), "x/r/b": ("g",)}
    )
    assert grouped[0] == 120.0
    nested = {"x/r/a": ("g", "around"), "x/r/b": ("around",)}
    for inner, outer, most in ((60.0, 120.0, 120.0), (60.0, 999.0, 160.0), (999.0, 90.0, 90.0)):
        limits = {"g": inner, "around": outer}
        assert most_served({"all": claimant(0, 300.0, *rooms)}, rooms, limits, nested)[0] == most
    shared = most_served(
        {"all": claimant(0, 300.0, "x/r/a", "y/r/c", x=30.0)}, {"x/r/a": 99.0, "y/r/c": 5.0}, {}, {}
    )
    assert shared[0] == 35.0


def test_more_critical_load_comes_first() -> None:
    """The prefix of a rank counts only what that rank and all before it get."""
    claimants = {"low": claimant(3, 80.0, "x/r/a"), "high": claimant(1, 50.0, "x/r/a")}
    assert most_served(claimants, {"x/r/a": 100.0}, {}, {}) == [0.0, 50.0, 50.0, 100.0]


def test_a_network_gives_nothing_twice() -> None:
    """What was sent stays sent."""
    network = Network()
    network.add("start", "end", 5.0)
    assert (network.augment("start", "end"), network.augment("start", "end")) == (5.0, 0.0)
