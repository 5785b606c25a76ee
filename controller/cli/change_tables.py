"""What `--dry-run` draws: the load of workloads and pools before and after, in units/s, and the summary."""

from rich.console import Console
from rich.text import Text

from controller.cli.tables import fitted_table
from controller.core.inspect.consequence_words import summary
from controller.core.inspect.consequences import Consequences


def draw(change: Consequences, console: Console) -> None:
    """The summary, what stands against it, and a row for each workload and pool that would change."""
    for line in summary(change):
        console.print(Text(line))
    for objection in change.objections:
        console.print(Text(f"{objection.rule}: {objection.sentence}", style="red"))
    if change.workloads:
        console.print(_workloads(change, console.width))
    if change.pools:
        console.print(_pools(change, console.width))


def _workloads(change: Consequences, width: int) -> object:
    rows = []
    for item in change.workloads:
        figures = (item.offered, item.moved, item.shed_before, item.shed_after)
        rows.append(
            tuple(map(Text, (item.workload, item.criticality, *(f"{units:,.0f}" for units in figures))))
        )
    headings = ("workload", "criticality", "offered/s", "moves/s", "shed/s now", "shed/s then")
    return fitted_table("workloads", headings, rows, width)


def _pools(change: Consequences, width: int) -> object:
    rows = []
    for pool in change.pools:
        figures = (f"{pool.before:,.0f}", f"{pool.after:,.0f}", f"{pool.after - pool.before:+,.0f}")
        rows.append(tuple(map(Text, (pool.pool, *figures))))
    return fitted_table("pools", ("pool", "now/s", "then/s", "change/s"), rows, width)
