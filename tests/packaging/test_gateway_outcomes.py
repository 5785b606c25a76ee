"""The page of what callers of a gateway get, which a run of the matrix wrote."""

from tests.integration.gateway_page import COLUMNS, PAGE, allowed, words_in
from tests.integration.matrix_drivers import DRIVERS
from tests.integration.matrix_table import FILE, rows


def test_the_page_says_of_each_fault_what_the_client_library_gives() -> None:
    """In the words of a gateway: a cell that differs means that the matrix has to be run again, or that the
    gateway does something else than the library."""
    table, lines = rows(FILE.read_text()), words_in(PAGE.read_text())
    assert len(lines) == len(table)
    for row, (fault, *cells) in zip(table, lines, strict=True):
        assert ("everywhere" in fault) == row.everywhere
        assert row.order is None or row.order["kind"] in fault
        for column, cell in zip(COLUMNS, cells, strict=True):
            for driver, outcome in outcomes(cell).items():
                wanted = allowed(row, column, driver)
                assert outcome in wanted, f"{fault}, {column}, {driver}: {outcome}, and not {wanted}"


def outcomes(cell: str) -> dict[str, str]:
    """By driver; a cell that names none is what all of them got."""
    if ": " not in cell:
        return dict.fromkeys(DRIVERS, cell)
    return dict(part.split(": ") for part in cell.split("; "))
