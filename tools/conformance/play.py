"""What a case gives, by the Python client. One function for each kind of case; the kind is the file's name.

``scenarios`` and ``requests`` are played step by step (``player``); a case of any other kind gives one value.
"""

import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from tieline._http.messages import retry_after_ms
from tieline._request.attempt import _as_told
from tieline._request.destinations import Destinations
from tieline._request.limits import waiting_for_stream, waiting_for_trial, waiting_for_whole
from tieline._routing.affinity import Affinity, Slots
from tieline._tables.exclusion import without_excluded
from tieline.credentials import MissingCredentialError
from tieline.providers import auth_for, url_for
from tieline.providers.answers import ProviderError, error_in_body, reading_of_error, reading_of_status
from tieline.providers.streams import Phase, StreamReader
from tieline.providers.whole import judge
from tieline.table import ClientSettings, ModelOffer, TableError
from tools.conformance.plain import Json, plain_of, table_of
from tools.conformance.player import Player, row_of


def outcomes(kind: str, case: Json) -> list[Any]:
    """What the case gives: one value, or one for each of its steps."""
    if kind in ("scenarios", "requests"):
        player = Player(case)
        return [player.play(step) for step in case["steps"]]
    return [KINDS[kind](case)]


def expected(case: Json) -> list[Any]:
    """What the file says that the case gives."""
    return [step["gives"] for step in case["steps"]] if "steps" in case else [case["gives"]]


def _affinity(case: Json) -> Json:
    """The pool of each session; ``out``: pools that are out, whose sessions go along their chains."""
    affinity = Affinity([(pool, weight) for pool, weight in case["weights"]])
    slots: Slots = affinity.compile()
    names = {pool: pool for pool, _ in case["weights"] if pool not in case["out"]}
    pools = [affinity.follow(zlib.crc32(name.encode()), names) for name in case["sessions"]]
    owners = ",".join(map(str, slots.owners))
    return {"pools": pools, "owners_crc32": zlib.crc32(owners.encode()), "first_owners": slots.owners[:16]}


def _tables(case: Json) -> Json:
    """Whether a table may be used, and whether it replaces the one whose generation is ``in_force``."""
    try:
        table = table_of(case["table"])
        before = table_of(case["in_force"]).generation if case.get("in_force") else None
    except TableError:
        return {"usable": False}
    same = before is None or before.lineage == table.generation.lineage
    return {"usable": True, "same_lineage": same, "newer": table.generation.newer_than(before)}


def _exclusions(case: Json) -> Json:
    """The table without the pools that an emergency overlay excludes; weights by pool, for each route."""
    table = without_excluded(table_of(case["table"]), tuple(case["exclude"]))
    return {
        route["origin"]: {
            "pools": [[row["pool"], row["weight_ppm"]] for row in route["pools"]],
            "shed_ppm": route["shed_ppm"],
            "on_loss": {
                provider: [[row["pool"], row["weight_ppm"]] for row in split["pools"]]
                for provider, split in route["on_loss"].items()
            },
            "last_resort": [row["pool"] for row in route["last_resort"]],
        }
        for route in plain_of(table)["routes"]
    }


def _answers(case: Json) -> Any:
    """What an answer means; without a status, an error in a stream. See ``row_of`` for the form."""
    error = error_in_body(case["body"].encode())
    if case["status"] is None:
        return row_of(reading_of_error(error, names_model=case["names_model"]))
    reading = reading_of_status(
        case["status"],
        error,
        names_model=case["names_model"],
        names_deployment=case.get("names_deployment", False),
    )
    return row_of(_as_told(reading, case.get("should_retry")))


def _bodies(case: Json) -> Any:
    """What the body of a whole answer with a good status is."""
    judged = judge(case["body"].encode(), is_creation=case["is_creation"], retry_empty=case["retry_empty"])
    error: ProviderError = judged.error
    return {"reading": row_of(judged.reading), "usage": judged.usage, "names": list(error.names)}


def _streams(case: Json) -> Any:
    """How a stream reads that comes in pieces of ``piece_bytes``: at which piece the waiting for its first
    output ended (None: never), and how it ended."""
    reader = StreamReader(case["path"], case["answers"])
    data, size = case["text"].encode(), case["piece_bytes"]
    first: int | None = None
    for number, at in enumerate(range(0, len(data), size)):
        if reader.feed(data[at : at + size]) is not Phase.WAITING and first is None:
            first = number
    had_ended = reader.ended
    result = reader.close(clean=case["clean"])
    return {
        "first_piece": first,
        "phase": reader.phase.value,
        "ended_before_close": had_ended,
        "ended": reader.ended,
        "has_error": reader.error is not None,
        "result": result.value,
        "usage": reader.usage,
        "events": reader.events,
    }


def _limits(case: Json) -> Any:
    """``[silence_ms, whole_ms, own_ms]``: how long an attempt may take."""
    settings = msgspec.convert(case["settings"], ClientSettings)
    offer = msgspec.convert(case["offer"], ModelOffer) if case["offer"] else None
    left_ms, part_ms = case["left_ms"], case["part_ms"]
    if case["stream"]:
        waiting = waiting_for_stream(settings, offer, case["usual_ms"], left_ms=left_ms, part_ms=part_ms)
    else:
        waiting = waiting_for_whole(
            settings,
            offer,
            case["usual_ms"],
            output_tokens_max=case["output_tokens_max"],
            left_ms=left_ms,
            part_ms=part_ms,
            is_costly=case["is_costly"],
        )
    if case["lately_ms"] is not None:
        waiting = waiting_for_trial(waiting, settings, case["lately_ms"])
    return [waiting.silence_ms, waiting.whole_ms, waiting.own_ms]


def _waits(case: Json) -> Any:
    """Milliseconds that an answer's headers ask to wait; None if they don't."""
    headers = [(name.encode(), value.encode()) for name, value in case["headers"].items()]
    return retry_after_ms(headers, case["now_epoch_ms"])


def _shapes(case: Json) -> Any:
    """The URL of a request at a pool, and the header with its secret."""
    name, value = auth_for(case["adapter"], case["secret"], is_token=case["is_token"])
    url = url_for(case["adapter"], case["url"], path=case["path"], model=case["model"])
    return {"url": url, "header": [name.decode(), value.decode()]}


def _destinations(case: Json) -> Any:
    """Whether the secret may be sent to each of the URLs, asked in this order."""
    destinations = Destinations(lambda _name: tuple(case["hosts"]))
    answers = []
    for adapter, url in case["urls"]:
        try:
            destinations.check("key", adapter, url)
        except MissingCredentialError:
            answers.append(False)
        else:
            answers.append(True)
    return answers


KINDS: dict[str, Callable[[Json], Any]] = {
    "affinity": _affinity,
    "answers": _answers,
    "bodies": _bodies,
    "destinations": _destinations,
    "exclusions": _exclusions,
    "limits": _limits,
    "shapes": _shapes,
    "streams": _streams,
    "tables": _tables,
    "waits": _waits,
}
