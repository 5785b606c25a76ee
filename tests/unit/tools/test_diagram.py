"""The picture in the documentation is the table in the code."""

import pytest

from controller.core.evidence.health import POSSIBLE
from controller.core.model.reasons import State
from tools.diagram import BEGIN, END, PAGE, drawn, main, picture


def test_the_page_shows_the_table_of_today() -> None:
    """Else: `python tools/diagram.py`."""
    assert main(["--check"]) == 0


def test_every_change_of_state_is_an_arrow_and_no_other() -> None:
    """Each once, with what leads along it; a pool begins unknown."""
    arrows = [line.split(":")[0].split(" --> ") for line in picture().splitlines() if " --> " in line]
    drawn_ones = [(before.strip(), after) for before, after in arrows]
    assert ("[*]", State.UNKNOWN.value) in drawn_ones
    assert sorted(drawn_ones[1:]) == sorted((before.value, after.value) for before, after in POSSIBLE)


def test_only_its_own_place_is_written() -> None:
    """What stands around the picture stays; a page without the marks is refused."""
    assert drawn(f"above\n{BEGIN}old\n{END}below\n") == f"above\n{BEGIN}{picture()}{END}below\n"
    assert drawn(PAGE.read_text()) == PAGE.read_text()
    with pytest.raises(ValueError, match="lacks the lines"):
        drawn("no marks")
