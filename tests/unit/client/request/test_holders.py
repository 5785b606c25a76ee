"""Which pool holds what: remembered, bounded, the latest first."""

from tieline._request.holders import IDS_MAX, Holders


def test_ids_lead_to_their_pool() -> None:
    """The first that is known decides; what moved is remembered where it is now."""
    holders = Holders()
    holders.learn(["resp_1", "file-1"], "a/r/x")
    holders.learn(["resp_2"], "b/r/x")
    assert holders.pool_of(["unheard", "resp_2", "resp_1"]) == "b/r/x"
    holders.learn(["resp_1"], "b/r/x")
    assert holders.pool_of(["resp_1"]) == "b/r/x"
    assert holders.pool_of([]) is None


def test_the_oldest_are_forgotten() -> None:
    """Those that are asked for stay."""
    holders = Holders()
    holders.learn(["old", "used"], "a/r/x")
    for number in range(IDS_MAX - 1):
        holders.learn([f"r{number}"], "b/r/x")
        holders.pool_of(["used"])
    assert holders.pool_of(["used"]) == "a/r/x"
    assert holders.pool_of(["old"]) is None
