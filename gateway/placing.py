"""PURE. Where a request belongs: its workload, its origin, and what its path is without a prefix.

Requests of Gemini's API come to ``/v1beta/models/MODEL:verb``, or as to Vertex AI to
``/v1/projects/PROJECT/locations/LOCATION/publishers/google/models/MODEL:verb``. The model is one of the
policy's; project and location mean nothing here.

A path prefix goes before the header ``x-tieline-workload``, and that before the token's own workload. The
origin is that of the header ``x-tieline-origin``, else the token's own if its workload is meant, else the
first of the workload.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from tieline.model_paths import VERBS

if TYPE_CHECKING:
    from gateway.callers import Caller
    from gateway.configuration import GatewayFile

BASE = "/v1"
# The versions of Google's APIs, and what may stand there before the model.
_OF_MODEL = re.compile(
    r"(?P<prefix>.*?)/v1(?:beta1?|alpha)?/(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/google/)?"
    rf"(?P<path>models/[^/]+:(?:{'|'.join(sorted(VERBS))}))\Z"
)
WORKLOAD_HEADER = b"x-tieline-workload"
ORIGIN_HEADER = b"x-tieline-origin"


class Place(Struct, frozen=True):
    """Where a request belongs. ``path``: what follows ``/v1``, with its query; of a request of Gemini's API
    ``/models/MODEL:verb``."""

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
        prefix, base, path = _parts(target)
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


def _parts(target: str) -> tuple[str, str, str]:
    """(prefix, base, what follows): without a base the target leads nowhere."""
    path, mark, query = target.partition("?")
    if (match := _OF_MODEL.match(path)) is None:
        return target.partition(f"{BASE}/")
    return match["prefix"], BASE, f"{match['path']}{mark}{query}"
