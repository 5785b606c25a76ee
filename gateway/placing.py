"""PURE. Where a request belongs: its workload, its origin, and what its path is without a prefix.

A path prefix goes before the header ``x-tieline-workload``, and that before the token's own workload. The
origin is that of the header ``x-tieline-origin``, else the token's own if its workload is meant, else the
first of the workload.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from gateway.callers import Caller
    from gateway.configuration import GatewayFile

BASE = "/v1"
WORKLOAD_HEADER = b"x-tieline-workload"
ORIGIN_HEADER = b"x-tieline-origin"


class Place(Struct, frozen=True):
    """Where a request belongs. ``path``: what follows ``/v1``, with its query."""

    workload: str
    origin: str
    path: str


class Misplaced(Struct, frozen=True):
    """Why a request belongs nowhere: an HTTP status, a code for programs and a sentence."""

    status: int
    code: str
    text: str


class Placing:
    """The rule, for the workloads of one file."""

    def __init__(self, file: "GatewayFile") -> None:
        self._origins: Mapping[str, tuple[str, ...]] = {
            served.workload: served.origins for served in file.workloads
        }
        self._by_prefix = {served.path: served.workload for served in file.workloads if served.path}

    def place(self, target: str, caller: "Caller", workload: str = "", origin: str = "") -> Place | Misplaced:
        """Where the request with this target (path and query) belongs. ``workload``, ``origin``: what its
        headers name, "" for nothing."""
        prefix, base, path = target.partition(f"{BASE}/")
        if not base or (prefix and prefix not in self._by_prefix):
            bases = ", ".join(f"{each}{BASE}/..." for each in ("", *self._by_prefix))
            return Misplaced(404, "unknown_path", f"there is nothing at this path; requests go to {bases}")
        name = self._by_prefix.get(prefix) or workload or caller.workload
        if name not in caller.may_use or name not in self._origins:
            choice = ", ".join(sorted(caller.may_use))
            return Misplaced(403, "workload_not_allowed", f"this token may use {choice}, not {name}")
        origins = self._origins[name]
        start = origin or (caller.origin if name == caller.workload else origins[0])
        if start not in origins:
            return Misplaced(
                400, "unknown_origin", f"{name} has no origin {start}; it has {', '.join(origins)}"
            )
        return Place(name, start, f"/{path}")
