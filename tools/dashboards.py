"""The dashboards for Grafana, written from a short list: ``python -m tools.dashboards`` writes
deploy/grafana.

A dashboard as Grafana keeps it is a thousand lines of JSON, of which a person chose one in ten. So the
choices are here, and tests/packaging/test_dashboards.py holds the files to them. Every expression is asked of
a real Prometheus in tests/integration/test_prometheus.py.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "deploy" / "grafana"
COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
Kind: TypeAlias = Literal["timeseries", "stat", "state-timeline"]
STATES = {5: ("healthy", "green"), 4: ("degraded", "yellow"), 3: ("recovering", "blue")} | {
    2: ("unknown", "text"),
    1: ("down", "red"),
}
STATE_NUMBERS = " or ".join(
    f'tieline_pool_state{{state="{name}"}} * {number}' for number, (name, _) in STATES.items()
)
PROVIDERS = 'label_replace({}, "provider", "$1", "pool", "([^/]+)/.*")'


class Query(NamedTuple):
    """One line, or one for each value of the labels that ``legend`` names."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """One picture. ``unit`` is Grafana's name of it; ``width`` is in twenty-fourths of the page."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    stacked: bool = False
    help: str = ""


def panel(title: str, *queries: tuple[str, str], **more: Any) -> Panel:
    """A panel from pairs of an expression and its legend."""
    return Panel(title, tuple(Query(*query) for query in queries), **more)


def quantiles(family: str) -> tuple[tuple[str, str], ...]:
    """Median and 99th percentile of a histogram over five minutes."""
    return tuple(
        (f"histogram_quantile({share}, sum by (le) (rate({family}_bucket[5m])))", legend)
        for share, legend in (("0.5", "half"), ("0.99", "99 of 100"))
    )


ROUTING = {
    "Is load served?": (
        panel("Leader", ("sum(tieline_leading)", "leaders"), kind="stat", width=3),
        panel("Fit controllers", ("sum(tieline_fit)", "fit"), kind="stat", width=3),
        panel("Alarms", ("sum(tieline_alarms) or vector(0)", "alarms"), kind="stat", width=3),
        panel("Orders in force", ("sum(tieline_orders)", "orders"), kind="stat", width=3),
        panel("Shed now", ("sum(tieline_shed_units_per_second)", "shed"), kind="stat", width=3),
        panel(
            "Worst loss of a provider",
            ('min(tieline_n_minus_1_margin_ratio{kind="provider"})', "margin"),
            unit="percentunit",
            kind="stat",
            width=4,
            help="Below 0 it is the share of the load that would not be served.",
        ),
        panel(
            "Pools down",
            ('count(tieline_pool_state{state="down"}) or vector(0)', "down"),
            kind="stat",
            width=5,
        ),
        panel(
            "Offered load",
            ("sum by (workload) (tieline_offered_units_per_second)", "{{workload}}"),
            stacked=True,
            help="Units per second, which the leader counts on.",
        ),
        panel(
            "Shed load",
            (
                "sum by (workload, criticality) (tieline_shed_units_per_second)",
                "{{workload}} ({{criticality}})",
            ),
            stacked=True,
            help="Units per second that no lawful pool has room for.",
        ),
        panel(
            "Load of providers",
            (f"sum by (provider) ({PROVIDERS.format('tieline_pool_load_units_per_second')})", "{{provider}}"),
            stacked=True,
            help="Units per second, as clients report them.",
        ),
    ),
    "Pools": (
        panel("State", (f"max by (pool) ({STATE_NUMBERS})", "{{pool}}"), kind="state-timeline", width=12),
        panel(
            "Weight",
            ("max by (pool) (tieline_pool_weight_ratio)", "{{pool}}"),
            unit="percentunit",
            width=12,
            stacked=True,
        ),
        panel(
            "Load of what may be carried",
            (
                "max by (pool) (tieline_pool_load_units_per_second"
                " / (tieline_pool_usable_units_per_second > 0))",
                "{{pool}}",
            ),
            unit="percentunit",
            width=12,
        ),
        panel(
            "Usable and stated capacity of providers",
            (
                f"sum by (provider) ({PROVIDERS.format('tieline_pool_usable_units_per_second')})",
                "{{provider}} usable",
            ),
            (
                f"sum by (provider) ({PROVIDERS.format('tieline_pool_stated_units_per_second')})",
                "{{provider}} stated",
            ),
            width=12,
        ),
    ),
    "What a loss would leave": (
        panel(
            "Margin",
            ('min by (lost) (tieline_n_minus_1_margin_ratio{kind="provider"})', "{{lost}}"),
            unit="percentunit",
            width=12,
            help="Room left if it is lost, as a share of all load; below 0, what would not be served.",
        ),
        panel(
            "Load that would not be served",
            (
                "sum by (lost, criticality) (tieline_n_minus_1_shed_units_per_second > 0)",
                "{{lost}} ({{criticality}})",
            ),
            width=12,
        ),
    ),
    "Reaction": (
        panel("A decision takes", *quantiles("tieline_decision_seconds"), unit="s"),
        panel("From event to Redis", *quantiles("tieline_event_to_projected_seconds"), unit="s"),
        panel("From event to clients", *quantiles("tieline_event_to_applied_seconds"), unit="s"),
        panel(
            "Clients by publications that they are behind",
            ("sum by (behind) (tieline_clients)", "{{behind}}"),
            ("sum(tieline_clients_silent)", "silent"),
            stacked=True,
        ),
        panel("Age of the table in Redis", ("max(tieline_table_age_seconds)", "age"), unit="s"),
        panel(
            "Alarms",
            ("max by (reason) (tieline_alarms)", "{{reason}}"),
            stacked=True,
        ),
    ),
}
PROCESSES = {
    "Leading": (
        panel("Who leads", ("tieline_leading", "{{instance}}"), stacked=True),
        panel("Epoch", ("max(tieline_leader_epoch)", "epoch")),
        panel("Since a leader was heard", ("tieline_leader_silence_seconds", "{{instance}}"), unit="s"),
        panel("Ready", ("tieline_ready", "{{instance}}")),
        panel("Why not fit", ("max by (instance, kind) (tieline_fault)", "{{instance}} {{kind}}")),
        panel("Clock against the brokers'", ("tieline_clock_apart_seconds", "{{instance}}"), unit="s"),
    ),
    "Reading": (
        panel("Records", ("sum by (what) (rate(tieline_ingest_total[1m]))", "{{what}}"), unit="cps"),
        panel("Behind", ("max by (topic) (tieline_ingest_behind_seconds)", "{{topic}}"), unit="s"),
        panel("Partitions", ("tieline_ingest_partitions", "{{instance}}"), stacked=True),
        panel("Dead letters", ("sum by (reason) (increase(tieline_dead_letters_total[5m]))", "{{reason}}")),
        panel("Dead letters that wait", ("max by (topic) (tieline_dead_letters_waiting)", "{{topic}}")),
        panel(
            "Sources that are silent", ("max(tieline_sources_unheard_ratio)", "silent"), unit="percentunit"
        ),
    ),
    "Processes": (
        panel("Memory", ("tieline_process_resident_memory_bytes", "{{instance}}"), unit="bytes"),
        panel(
            "Processor", ("rate(tieline_process_cpu_seconds_total[1m])", "{{instance}}"), unit="percentunit"
        ),
        panel(
            "Probers' reports", ("sum by (what) (rate(tieline_reports_total[1m]))", "{{what}}"), unit="cps"
        ),
        panel(
            "Notifications",
            ("sum by (target, what) (increase(tieline_notifications_total[5m]))", "{{target}} {{what}}"),
            ("sum by (target) (tieline_notifications_waiting)", "{{target}} waiting"),
        ),
        panel(
            "Answers of tieline web",
            ("sum by (what) (rate(tieline_web_answers_total[1m]))", "{{what}}"),
            unit="cps",
        ),
        panel("Streams of tieline web", ("sum by (instance) (tieline_web_streams)", "{{instance}}")),
    ),
}
DASHBOARDS: dict[str, tuple[str, Mapping[str, tuple[Panel, ...]]]] = {
    "tieline-routing": ("Tieline: routing", ROUTING),
    "tieline-processes": ("Tieline: processes", PROCESSES),
}


def dashboard(uid: str) -> dict[str, Any]:
    """One dashboard as Grafana imports it. Rows are filled from the left, and wrap."""
    title, rows = DASHBOARDS[uid]
    entries: list[dict[str, Any]] = []
    top = 0
    for name, panels in rows.items():
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        entries.append({"id": len(entries) + 1, "type": "row", "title": name, "gridPos": place, "panels": []})
        top += 1
        left = height = 0
        for item in panels:
            if left + item.width > COLUMNS:
                top, left = top + height, 0
            height = 4 if item.kind == "stat" else 8
            place = {"h": height, "w": item.width, "x": left, "y": top}
            entries.append({"id": len(entries) + 1, "gridPos": place, **_panel(item)})
            left += item.width
        top += height
    return {
        "uid": uid,
        "title": title,
        "tags": ["tieline"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
            ]
        },
        "panels": entries,
    }


def _panel(item: Panel) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": SOURCE,
            "expr": query.expr,
            "legendFormat": query.legend,
        }
        for number, query in enumerate(item.queries)
    ]
    defaults: dict[str, Any] = {"unit": item.unit}
    if item.kind == "timeseries":
        stacking = {"mode": "normal" if item.stacked else "none", "group": "A"}
        defaults["custom"] = {"fillOpacity": 20 if item.stacked else 0, "stacking": stacking}
    if item.kind == "state-timeline":
        options = {str(number): {"text": text, "color": color} for number, (text, color) in STATES.items()}
        defaults["mappings"] = [{"type": "value", "options": options}]
    return {
        "type": item.kind,
        "title": item.title,
        "description": item.help,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}}
        if item.kind == "timeseries"
        else {},
    }


def text_of(uid: str) -> str:
    """The file of one dashboard."""
    return json.dumps(dashboard(uid), indent=1) + "\n"


def main() -> None:
    """Writes all files."""
    PLACE.mkdir(parents=True, exist_ok=True)
    for uid in DASHBOARDS:
        (PLACE / f"{uid}.json").write_text(text_of(uid))


if __name__ == "__main__":
    main()
