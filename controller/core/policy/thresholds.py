"""Every number that a rule of the decision core uses, by name, with its default.

Shares are fractions of one, periods are milliseconds, factors multiply what the comment says. A policy states
only those that it wants otherwise.

A policy's version is a digest of its encoding, in which fields stand in the order of this file and those
with their default are missing. So a new field may be added anywhere, but an old one keeps its name, its
default and its place among the others. Otherwise recorded decisions would be decided to other bytes.
"""

from typing import Annotated

from msgspec import Meta, Struct

from tieline.events import STALE_AFTER_INTERVALS, STALE_AFTER_MAX_MS, STALE_AFTER_MIN_MS, stale_after_ms

Fraction = Annotated[float, Meta(ge=0, le=1, description="a share, e.g. 0.8")]
Factor = Annotated[float, Meta(ge=1, le=1_000)]
Period = Annotated[int, Meta(ge=0, le=31 * 86_400_000, description="milliseconds")]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
Step = Annotated[int, Meta(ge=1, le=3_600_000)]
Band = Annotated[float, Meta(gt=0, le=60_000)]
RampSteps = Annotated[tuple[Fraction, ...], Meta(min_length=1, max_length=20)]


class Thresholds(Struct, frozen=True, omit_defaults=True):
    """The numbers in the order in which a decision meets most of them."""

    # Clients' outcomes at a pool: how many of them, over which time, say something.
    requests_min: Positive = 20  # fewer requests in the window say nothing by themselves
    requests_few_min: Positive = 3  # so many are enough where another source agrees
    window_ms: Period = 10_000  # the longest look back at clients' outcomes
    window_min_ms: Period = 2_000  # the shortest, however many requests there are
    progress_age_max_ms: Period = 5_000  # how far a partition was read counts for so long

    # From evidence to a finding.
    failing_share_down: Fraction = 0.5  # of requests or probes: from here on a pool is failing
    failing_share_degraded: Fraction = 0.1
    failing_share_clear: Fraction = 0.05  # below it a degraded pool is healthy again
    reporters_min: Positive = 3  # so many must agree, or half of those that exist
    reporters_elsewhere_max: Positive = 3  # clients heard elsewhere raise the number that exist up to this
    reporter_share_max: Fraction = 0.25  # of the evidence of one pool, or an even share among fewer than four
    probe_requests_min: Positive = 1
    no_progress_factor: Factor = 3.0  # x the pool's usual 99th percentile of first tokens
    no_progress_min_ms: Period = 10_000
    slow_factor: Factor = 3.0  # x the pool's usual median first token: from here on it is slow ...
    slow_min_ms: Period = 1_000  # ... but only if it is later by no less than this
    usual_period_ms: Period = 600_000  # the usual first tokens of a pool change no more often than this
    usual_far_off_factor: Factor = 1.5  # measured first tokens within this factor of the usual change nothing
    usual_rise_factor: Factor = 1.1  # slower ones raise the usual by this factor
    usual_fall_share: Fraction = 0.8  # faster ones lower it to this share
    client_error_share: Fraction = 0.5  # refused as the callers' fault: from here on siblings are compared
    client_error_clear: Fraction = 0.1  # below it a sibling serves the same callers
    compared_share_min: Fraction = 0.1  # of a pool's load that siblings must carry too to be compared
    unheard_share_max: Fraction = 0.5  # of the sources: beyond it nothing is moved by choice
    unheard_providers_min: Positive = 2  # silence in fewer providers than this freezes nothing
    stale_factor: Factor = STALE_AFTER_INTERVALS
    stale_min_ms: Period = STALE_AFTER_MIN_MS
    stale_max_ms: Period = STALE_AFTER_MAX_MS

    # From findings to the state of a pool.
    clear_after_ms: Period = 10_000  # good evidence must last this long before degraded ends
    hold_down_min_ms: Period = 30_000
    hold_down_max_ms: Period = 300_000  # before it is doubled for relapses
    hold_down_cap_ms: Period = 3_600_000  # after it was doubled
    relapse_window_ms: Period = 3_600_000
    verdict_step_ms: Step = 10_000  # an outage by an operator's verdict is prolonged in such steps
    ramp_steps: RampSteps = (0.01, 0.1, 0.25, 0.5, 1.0)
    ramp_step_min_ms: Period = 30_000

    # Moves by choice.
    trickle_share: Fraction = 0.005  # of one route, to keep one standby pool known
    trickle_every_ms: Step = 10_000  # at least one request in this time
    trickle_share_max: Fraction = 0.05  # of one route, all its standby pools together
    plan_fresh_ms: Period = 30_000  # the dispatch's plan guides moves by choice for so long
    shift_share_max: Fraction = 0.1  # of a route's demand moves by choice ...
    shift_period_ms: Period = 10_000  # ... at most once in this time
    shift_share_min: Fraction = 0.05  # a smaller difference is left alone
    reversal_ms: Period = 300_000  # a move by choice is not taken back for so long ...
    reversal_max_ms: Period = 3_600_000  # ... and at most for so long when it went back and forth before

    # Forced moves.
    overload_tolerance: Fraction = 0.05  # above usable before load is forced away
    headroom_in_scarcity: Fraction = 0.95  # the headroom of pools for load that would be shed otherwise
    forced_share_min: Fraction = 0.005  # of a route: a smaller forced change waits for a larger one

    # What a pool may carry.
    capacity_counts_max_ms: Period = 86_400_000  # a statement of capacity counts for no longer than this
    reported_share_min: Fraction = 0.95  # of the usual clients: then a second counts ...
    late_seconds_max: Positive = 4  # ... but no longer is waited for them
    demand_window_ms: Period = 10_000  # demand is the mean over the whole seconds of this time
    surge_window_ms: Period = 3_000  # or over the last of them, where that is clearly more:
    surge_share: Fraction = 0.1  # by this share, and by more than chance would have it
    same_share: Fraction = 0.1  # a measured capacity or request size that differs by less is the same
    throttled_share: Fraction = 0.05  # of requests: from here on throttling is a limit
    throttled_window_ms: Period = 4_000  # what it serves meanwhile is the mean over so long
    throttled_hold_ms: Period = 30_000  # what throttling showed holds so long
    throttled_renew_ms: Period = 5_000  # while it goes on it is remembered anew this often
    throttled_forget_factor: Factor = 10.0  # x throttled_hold_ms: then it is forgotten
    throttled_floor_share: Fraction = 0.1  # of a pool's limit, below which throttling never takes it
    rate_limit_left_min: Fraction = 0.1  # of a provider's limit, by its answers: with less a pool is full
    lump_share: Fraction = 0.25  # stated capacity that grows by more than this share is ramped ...
    lump_known_ms: Period = 600_000  # ... and a smaller limit that was stated for so long is the known one
    throttled_regain: Factor = 1.1  # after throttled_hold_ms the limit grows by this factor, and by twice as
    # much more in each shift period that follows
    latency_band_ms: Band = 50.0  # pools within one band count as equally near
    first_table_share: Fraction = 0.5  # of committed capacity, for the first table of a lineage

    # When a provider is lost.
    providers_lost_share: Fraction = 0.5  # beyond it, pools that still succeed stay in ...
    lost_trickle_share: Fraction = 0.01  # ... with this share of each route where nothing succeeds
    on_loss_after_ms: Period = 1_000  # after a forced publication ``on_loss`` is decided anew
    on_loss_period_ms: Period = 60_000  # and without one this often
    on_loss_share_min: Fraction = 0.05  # of a route: a smaller difference in ``on_loss`` is not published

    # Drills.
    drill_quiet_ms: Period = 600_000  # no drill begins within this time after a pool fell ill
    drill_failing_rise_max: Fraction = 0.01  # of requests: if so many more fail than before, a drill ends
    drill_return_max_ms: Period = 900_000  # for so long after a drill it is measured when the load is back

    @property
    def client_error_still(self) -> float:
        """From which share of 400 answers on a pool that was out for them has them still: halfway between
        what clears a sibling and what accuses a pool, so that no share near one of these makes it swing."""
        return (self.client_error_share + self.client_error_clear) / 2

    @property
    def lead_ms(self) -> int:
        """How long before it begins a planned change is made room for.

        So long do moves by choice need to take everything away, and two periods more.
        """
        return self.shift_period_ms * (round(1 / max(self.shift_share_max, 0.01)) + 2)

    def stale_after_ms(self, interval_ms: int) -> int:
        """For how long a report counts whose source promised the next one after ``interval_ms``."""
        return stale_after_ms(
            interval_ms,
            intervals=self.stale_factor,
            at_least_ms=self.stale_min_ms,
            at_most_ms=self.stale_max_ms,
        )
