"""What `tieline web` reports about itself over ``/livez``, ``/readyz`` and ``/metrics``
(``process.monitor``)."""

from collections.abc import Mapping

from controller.process.clock import monotonic_ms
from controller.process.monitor import Vitals, labelled, single
from controller.web.board import Board


def web_vitals(board: Board, counts: Mapping[str, int], streams: int) -> Vitals:
    """It is ready once it has a table, also while Redis is away: callers are better served by an old table,
    of which it says how old it is, than by none."""
    words = "Time since a controller last confirmed the table that is served"
    silent_s = board.silent_ms(monotonic_ms()) / 1_000
    answers = {name.replace(" ", "_"): count for name, count in counts.items()}
    figures = (
        labelled("web_answers", "Answers by what they were", "what", values=answers, counter=True),
        single("web_streams", "Streams of events that are open", streams),
        single("web_table_age_seconds", words, silent_s),
    )
    return Vitals("" if board.served else f"there is no route table yet: {board.error}", figures)
