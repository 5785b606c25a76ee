"""A provider's largest share, in parts per million."""

import pytest

from controller.core.policy.shares import most_parts, parts_left, provider_parts, within_shares
from tieline.table import MILLION, Split

AZURE, GCP = 0, 1
PROVIDER_OF = (AZURE, AZURE, GCP)


@pytest.mark.parametrize("per_mille", range(0, 1_001, 37))
def test_deciding_and_checking_agree_on_whole_per_milles(per_mille: int) -> None:
    """A provider that carries nothing may gain exactly what a finished split may hold."""
    share = per_mille / 1_000
    assert parts_left(share, 0) == most_parts(share) == per_mille * 1_000


def test_what_may_be_gained_is_rounded_down_and_what_may_be_held_to_the_nearest() -> None:
    """A share whose product with a million lies just below a whole number is one part apart: nothing that was
    decided is ever refused for its rounding."""
    assert (parts_left(0.0157, 0), most_parts(0.0157)) == (15_699, 15_700)


def test_a_provider_with_too_much_has_a_negative_rest() -> None:
    """What is left goes below zero by as many parts as must leave."""
    assert parts_left(0.4, 450_000) == -50_000


def test_a_provider_carries_what_its_pools_carry() -> None:
    """Parts add up over the pools of one provider only."""
    shares = [(0, 200_000), (1, 300_000), (2, 500_000)]
    assert provider_parts(shares, PROVIDER_OF, AZURE) == 500_000


def test_what_is_beyond_a_share_is_shed() -> None:
    """Pools give up parts in their order until the provider is within its share; the split stays whole."""
    split = Split((0, 1, 2), (200_000, 300_000, 500_000))
    mended = within_shares(split, {AZURE: 0.25}, PROVIDER_OF)
    assert mended == Split((1, 2), (250_000, 500_000), 250_000)
    assert sum(mended.weights) + mended.shed == MILLION


def test_a_split_within_its_shares_stays_the_same_object() -> None:
    """Callers see by identity that nothing changed."""
    split = Split((0, 2), (250_000, 750_000))
    assert within_shares(split, {AZURE: 0.25}, PROVIDER_OF) is split
