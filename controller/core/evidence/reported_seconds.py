"""Which seconds of clients' reports are complete: the newest ones lack what is still on its way.

A second counts once about as many clients have reported it as usually do. What is missing would otherwise
look like load that has gone, or like a pool that serves less. Clients that are gone for good are noticed
after ``late_seconds_max`` seconds.
"""

from collections.abc import Sequence

from controller.core.policy.thresholds import Thresholds
from streams.rows import DemandSecond

USUAL_MIN = 2  # seconds that say how many clients usually report


def reported_seconds(seconds: Sequence[DemandSecond], thresholds: Thresholds) -> Sequence[DemandSecond]:
    """The seconds, oldest first, without the newest ones whose reports have not all arrived.

    The newest second is never complete, as it may still be going on. If there is no other it is all there is.
    """
    reported = seconds[:-1]
    for _ in range(thresholds.late_seconds_max):
        earlier = reported[:-1]
        if len(earlier) < USUAL_MIN:
            break
        usual = sum(second.clients for second in earlier) / len(earlier)
        if reported[-1].clients >= thresholds.reported_share_min * usual:
            break
        reported = earlier
    return reported or seconds[-1:]
