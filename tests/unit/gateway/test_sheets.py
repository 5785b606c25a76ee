"""What workers tell the process that answers for all of them."""

from pathlib import Path

from prometheus_client.registry import Collector

from controller.process.monitor import Vitals, labelled
from gateway.sheets import SILENT_AFTER_MS, read_sheets, sheet_of, vitals_of, write_sheet


def vitals(unready: str = "", **counts: float) -> Vitals:
    return Vitals(unready, (labelled("asked", "Requests", "caller", values=counts, counter=True),))


def samples_of(collectors: tuple[Collector, ...]) -> dict[tuple[str, str], float]:
    """(family, value of the first label) -> value."""
    return {
        (family.name, next(iter(sample.labels.values()), "")): sample.value
        for collector in collectors
        for family in collector.collect()
        for sample in family.samples
    }


def test_figures_of_workers_are_added_up(tmp_path: Path) -> None:
    """By their labels, also where only one worker has them."""
    write_sheet(tmp_path, 0, sheet_of(vitals(a=1, b=2), 1_000))
    write_sheet(tmp_path, 1, sheet_of(vitals(a=10), 1_000))
    whole = vitals_of(read_sheets(tmp_path, 2), 1_000)
    samples = samples_of(whole.histograms)
    assert samples["tieline_asked", "a"] == 11
    assert samples["tieline_asked", "b"] == 2
    assert whole.unready == ""


def test_one_worker_that_is_ready_is_enough(tmp_path: Path) -> None:
    """They share one socket, so that the others' connections go to it."""
    write_sheet(tmp_path, 0, sheet_of(vitals("no table"), 1_000))
    assert vitals_of(read_sheets(tmp_path, 1), 1_000).unready == "worker 0: no table"
    write_sheet(tmp_path, 1, sheet_of(vitals(), 1_000))
    assert vitals_of(read_sheets(tmp_path, 2), 1_000).unready == ""


def test_a_worker_that_tells_nothing_is_not_ready(tmp_path: Path) -> None:
    """It has not started, or it hangs; its counts stay, as they happened."""
    write_sheet(tmp_path, 1, sheet_of(vitals(a=1), 1_000))
    whole = vitals_of(read_sheets(tmp_path, 2), 1_001 + SILENT_AFTER_MS)
    assert whole.unready == "worker 0 has not started; worker 1 has been silent for 15 s"
    assert samples_of(whole.histograms)["tieline_asked", "a"] == 1
