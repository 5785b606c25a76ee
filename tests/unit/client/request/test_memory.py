"""What a process remembers: which pool holds what, within bounds, and how large requests are."""

import pytest

from tieline._request.memory import COMPLETION_DEFAULT, IDS_MAX, Estimator, Holders


def test_ids_lead_to_their_pool() -> None:
    """The first id that is known decides. What has moved is remembered where it is now."""
    holders = Holders()
    holders.learn(["resp_1", "file-1"], "a/r/x")
    holders.learn(["resp_2"], "b/r/x")
    pools = holders.pools_of(["unheard", "resp_2", "resp_1"])
    assert list(pools.items()) == [("resp_2", "b/r/x"), ("resp_1", "a/r/x")]
    holders.learn(["resp_1"], "b/r/x")
    assert holders.pools_of(["resp_1"]) == {"resp_1": "b/r/x"}
    assert holders.pools_of([]) == {}


def test_the_oldest_are_forgotten() -> None:
    """Ids that are asked for stay."""
    holders = Holders()
    holders.learn(["old", "used"], "a/r/x")
    for number in range(IDS_MAX - 1):
        holders.learn([f"r{number}"], "b/r/x")
        holders.pools_of(["used"])
    assert holders.pools_of(["used"]) == {"used": "a/r/x"}
    assert holders.pools_of(["old"]) == {}


def test_load_is_estimated_until_answers_name_it() -> None:
    """Four bytes a token and 256 tokens an answer at first, then ever closer to what answers say."""
    estimator = Estimator()
    assert estimator.expect(400, None) == 100 + COMPLETION_DEFAULT
    assert estimator.expect(400, 10) == 110
    for _ in range(200):
        estimator.learn(400, 200, 50)
    assert estimator.prompt(400) == pytest.approx(200, rel=0.01)
    assert estimator.expect(400, None) == pytest.approx(250, rel=0.01)


def test_one_odd_answer_does_not_spoil_the_estimate() -> None:
    """A prompt that costs far more than its bytes counts as at most four times the usual."""
    estimator = Estimator()
    estimator.learn(4, 1_000_000, 0)
    assert estimator.prompt(400) <= 100 * 1.2
