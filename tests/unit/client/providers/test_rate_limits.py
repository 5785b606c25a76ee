"""What an answer's headers say is left of a provider's limits, in every shape that providers use."""

import pytest

from tieline._http.messages import Headers
from tieline._routing.room import Allowance, RateLimits
from tieline.providers.rate_limits import duration_ms, rate_limits

NOW = 1_795_000_000_000  # 2026-11-18T11:06:40Z


def headers(**values: str) -> Headers:
    """Headers by their names, with underscores for dashes."""
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in values.items()]


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("1s", 1_000.0),
        ("6m0s", 360_000.0),
        ("20ms", 20.0),
        ("1h2m3.5s", 3_723_500.0),
        ("1d", 86_400_000.0),
        ("59", 59_000.0),
        ("0.5", 500.0),
        ("2026-11-18T11:07:00Z", 20_000.0),
        ("2026-11-18T12:07:00+01:00", 20_000.0),
        ("2026-11-18T11:06:39Z", 0.0),
        ("1795000020", 20_000.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("nan", None),
        ("s", None),
    ],
)
def test_shapes_of_a_reset(text: str, expected_ms: float | None) -> None:
    """Durations, seconds, instants; what makes no sense is nothing, and what is over is 0."""
    assert duration_ms(text, NOW) == expected_ms


def test_openai() -> None:
    """All six headers, whatever their case."""
    sent = headers(
        X_RateLimit_Limit_Requests="60",
        x_ratelimit_limit_tokens="150000",
        x_ratelimit_remaining_requests="59",
        x_ratelimit_remaining_tokens="149984",
        x_ratelimit_reset_requests="1s",
        x_ratelimit_reset_tokens="6m0s",
    )
    assert rate_limits(sent, NOW) == RateLimits(
        Allowance(59, 60, 1_000.0), Allowance(149_984, 150_000, 360_000.0)
    )


def test_azure_states_only_what_is_left() -> None:
    """Without limit and reset there is still a number to go by."""
    sent = headers(x_ratelimit_remaining_requests="3", x_ratelimit_remaining_tokens="900")
    assert rate_limits(sent, NOW) == RateLimits(Allowance(3), Allowance(900))


def test_anthropic() -> None:
    """The names are the other way round, and resets are instants."""
    sent = headers(
        anthropic_ratelimit_requests_limit="50",
        anthropic_ratelimit_requests_remaining="49",
        anthropic_ratelimit_requests_reset="2026-11-18T11:06:41Z",
    )
    assert rate_limits(sent, NOW) == RateLimits(Allowance(49, 50, 1_000.0), None)


def test_of_input_and_output_the_tighter_one_counts() -> None:
    """Tokens that have two limits are limited by the one of which less is left."""
    sent = headers(
        anthropic_ratelimit_input_tokens_limit="1000",
        anthropic_ratelimit_input_tokens_remaining="900",
        anthropic_ratelimit_output_tokens_limit="200",
        anthropic_ratelimit_output_tokens_remaining="20",
    )
    assert rate_limits(sent, NOW) == RateLimits(None, Allowance(20, 200))


@pytest.mark.parametrize(
    "sent",
    [
        headers(content_type="application/json"),
        headers(x_ratelimit_remaining_requests="many"),
        headers(x_ratelimit_limit_requests="60"),
        headers(my_ratelimit_remaining_requests="1"),
        headers(x_ratelimit_remaining="1"),
        [(b"x-ratelimit-remaining-requests", b"\xff")],
    ],
)
def test_what_says_nothing(sent: Headers) -> None:
    """No number of what is left, or names of somebody else: nothing is known."""
    assert rate_limits(sent, NOW) is None
