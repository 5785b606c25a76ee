"""The types of the fields of events, each with its limits: names, places, amounts and instants.

A value beyond its limits makes an event invalid (``cloudevents``). The policy uses the same types, so that a
name that an event may have is one that the policy can give.
"""

from typing import Annotated

from msgspec import Meta

DURATION_MAX_MS = 31 * 86_400_000
LATENCY_MAX_MS = 3.6e6

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+:-]{0,95}\Z"
_POOL = r"^[a-z0-9][a-z0-9._-]{0,63}/[a-z0-9][a-z0-9._-]{0,63}/[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z"
_SCOPE = r"^[a-z0-9][a-z0-9._-]{0,63}(/[a-z0-9][a-z0-9._-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._:-]{0,127})?)?\Z"
_ORDER_SCOPE = rf"^\*\Z|{_SCOPE}"
_REGION = r"^([a-z0-9][a-z0-9._-]{0,63}|\*)\Z"

Name = Annotated[str, Meta(pattern=_NAME)]
ProviderId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
RegionId = Annotated[str, Meta(pattern=_REGION, description="`*` stands for every region of the provider")]
PoolId = Annotated[str, Meta(pattern=_POOL, description="provider/region/deployment")]
Scope = Annotated[str, Meta(pattern=_SCOPE, description="provider[/region[/deployment]]")]
OrderScope = Annotated[str, Meta(pattern=_ORDER_SCOPE, description="`*` or provider[/region[/deployment]]")]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Units = Annotated[float, Meta(ge=0, le=1e15)]
Share = Annotated[float, Meta(ge=0, le=1)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z", description="32 hex digits")]
RuleName = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}\Z")]
Rate = Annotated[float, Meta(ge=0, le=1e12)]
DurationMs = Annotated[int, Meta(ge=0, le=DURATION_MAX_MS)]
LatencyMs = Annotated[float, Meta(ge=0, le=LATENCY_MAX_MS)]
InstantMs = Annotated[int, Meta(ge=1_500_000_000_000, le=4_100_000_000_000)]
IntervalMs = Annotated[int, Meta(ge=100, le=900_000)]
Sequence = Annotated[int, Meta(ge=0, le=2**53)]
Text = Annotated[str, Meta(max_length=2_000)]
