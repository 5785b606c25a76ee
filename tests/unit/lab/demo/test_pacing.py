"""When a caller sends its requests, to whom they belong, and what they ask."""

from itertools import islice

from lab.demo.pacing import LATE_MAX_S, Share, anchored, in_proportion, is_streamed, prompt


def test_every_stretch_of_requests_keeps_the_mix() -> None:
    """Requests of a workload are spread evenly: a hundred have the exact mix, and a part of them nearly."""
    mix = [Share("chat", "us", 5, "m"), Share("api", "us", 3, "m"), Share("batch", "us", 2, "m")]
    hundred = [share.workload for share in islice(in_proportion(mix), 100)]
    assert [hundred.count(name) for name in ("chat", "api", "batch")] == [50, 30, 20]
    assert 9 <= hundred[40:60].count("chat") <= 11


def test_a_prompt_has_the_length_of_its_tokens() -> None:
    """Four characters a token, as the stand-ins count."""
    assert [len(prompt(tokens)) for tokens in (1, 7, 1_000)] == [4, 28, 4_000]


def test_every_stretch_of_requests_streams_its_share() -> None:
    """A third of the requests are streamed, and about a third of any thirty."""
    streamed = [is_streamed(serial, 1 / 3) for serial in range(3_000)]
    assert 990 <= sum(streamed) <= 1_010
    assert all(8 <= sum(streamed[start : start + 30]) <= 12 for start in range(0, 3_000, 30))


def test_a_caller_that_stood_still_goes_on_at_its_pace() -> None:
    """What was due meanwhile comes later, not all at once; being a little late is caught up."""
    began_s, stood_still_s = 100.0, 6.0
    after = anchored(began_s, 10.0, began_s + 10.0 + stood_still_s)
    assert after == began_s + stood_still_s
    assert anchored(after, 10.2, after + 10.0) == after
    assert anchored(began_s, 10.0, began_s + 10.0 + LATE_MAX_S) == began_s
