"""When `tieline web` is ready, and what it counts."""

from controller.web.board import Board, ServedTable
from controller.web.vitals import web_vitals
from tieline.table import Generation, Manifest


def test_it_is_ready_once_it_has_a_table() -> None:
    """Before, it says why there is none; afterwards an old table is better than none."""
    board = Board()
    vitals = web_vitals(board, {"tables sent": 2}, 1)
    assert vitals.unready == "there is no route table yet: Redis has not been read yet"
    board.show(ServedTable(Manifest(Generation("l", 1, 2), 0, {}), {}))
    board.error = "Redis: ConnectionError"
    assert web_vitals(board, {}, 0).unready == ""
    figures = {figure.name: dict(figure.values) for figure in vitals.figures}
    assert figures["web_answers"] == {("tables_sent",): 2.0}
    assert figures["web_streams"] == {(): 1.0}
