"""The table of answers in the client's README is the one in the code."""

import pytest

from tieline.providers.answers import ERRORS, STATUS_OF_NAME
from tools.answers import BEGIN, END, error_rows, main, name_rows, section, status_rows, written


def test_the_page_shows_the_tables_of_today() -> None:
    """Else: `python -m tools.answers`."""
    assert main(["--check"]) == 0


def test_every_meaning_has_its_row() -> None:
    """Each status and each name of an error once."""
    statuses = [cell for row in status_rows() for cell in row[0].split(", ")]
    assert len(statuses) == len(set(statuses))
    assert {"401", "402", "409", "429", "other 4xx", "other 5xx"} <= set(statuses)
    assert len(error_rows()) == len(ERRORS)
    named = [name for _, names in name_rows() for name in names.split(", ")]
    assert sorted(named) == sorted(f"`{name}`" for name in STATUS_OF_NAME)


def test_only_its_own_place_is_written() -> None:
    """What stands around the rows stays; a page without the marks is refused."""
    assert written(f"above\n{BEGIN}old\n{END}below\n") == f"above\n{BEGIN}\n{section()}\n{END}below\n"
    with pytest.raises(ValueError, match="lacks the lines"):
        written("no marks")
