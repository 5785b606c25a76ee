"""The version of a policy outlives new thresholds: recorded decisions name it, and are decided again."""

import msgspec
import pytest

from controller.core.policy.thresholds import Thresholds
from tieline.table import checksum

FIRST = (
    "requests_min", "requests_few_min", "window_ms", "failing_share_down", "failing_share_degraded",
    "failing_share_clear", "reporters_min", "reporter_share_max", "probe_requests_min",
    "no_progress_factor", "no_progress_min_ms", "slow_factor", "slow_min_ms", "usual_period_ms",
    "client_error_share", "client_error_clear", "stale_factor", "stale_min_ms", "stale_max_ms",
    "clear_after_ms", "hold_down_min_ms", "hold_down_max_ms", "hold_down_cap_ms", "relapse_window_ms",
    "ramp_steps", "ramp_step_min_ms", "trickle_share", "trickle_every_ms", "trickle_share_max",
    "shift_share_max", "shift_period_ms",
    "shift_share_min", "reversal_ms", "overload_tolerance", "throttled_share", "throttled_hold_ms",
    "lump_share", "lump_known_ms", "throttled_regain", "latency_band_ms", "first_table_share",
    "providers_lost_share", "lost_trickle_share",
)  # fmt: skip
"""The thresholds of the first policies that were recorded, in the order of their encoding."""


def other(value: object) -> object:
    """A value that is not this threshold's default."""
    match value:
        case float():
            return value / 2 if value < 1 else value + 1
        case int():
            return value + 1
        case _:
            return (0.5, 1.0)


def encoded(thresholds: Thresholds) -> bytes:
    """As in a policy's canonical encoding."""
    return msgspec.msgpack.Encoder(order="deterministic").encode(thresholds)


def test_a_threshold_with_its_default_is_not_encoded() -> None:
    """So a new one leaves the versions of older policies as they were."""
    assert msgspec.msgpack.decode(encoded(Thresholds())) == {}
    assert set(FIRST) < set(Thresholds.__struct_fields__)


def test_the_first_thresholds_keep_name_order_and_encoding() -> None:
    """The digest was taken when no others existed."""
    stated = Thresholds(**{name: other(getattr(Thresholds(), name)) for name in FIRST})  # type: ignore[arg-type]
    assert checksum(encoded(stated)) == "e6b51ecb9758bd729f468f4cec2655d4"


@pytest.mark.parametrize("name", Thresholds.__struct_fields__)
def test_every_threshold_can_be_stated(name: str) -> None:
    """A value within its bounds is taken from a policy and encoded with it."""
    stated = msgspec.convert({name: other(getattr(Thresholds(), name))}, Thresholds)
    assert stated != Thresholds()
    assert msgspec.msgpack.decode(encoded(stated), type=Thresholds) == stated
