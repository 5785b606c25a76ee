"""The files for Prometheus and Grafana: checked by promtool, and as the lists from which they were made
say."""

import json
import re

import pytest
import yaml

from tests.places import ROOT
from tools.dashboards import DASHBOARDS, PLACE, dashboard, text_of
from tools.prometheus import promtool

RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
RULE_TESTS = ROOT / "deploy" / "prometheus" / "alerts_test.yaml"
PAGE = (ROOT / "docs" / "metrics.md").read_text()
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_promtool_accepts_the_rules() -> None:
    """Expressions, names and templates are valid for a real Prometheus."""
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_where_it_should_and_nowhere_else() -> None:
    """promtool plays a world for each alert, and one in which all is well."""
    worlds = [test["name"] for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]]
    assert sorted(worlds[1:]) == sorted(rule["alert"] for rule in ALERTS)
    done = promtool("test", "rules", str(RULE_TESTS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_how_urgent_it_is_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    """A severity of the three, a summary, a remedy, and a line on the page about metrics."""
    assert rule["labels"]["severity"] in ("page", "ticket", "note")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert f"`{rule['alert']}`" in PAGE


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_dashboards_are_those_of_the_list(uid: str) -> None:
    """After a change of tools/dashboards.py, `python -m tools.dashboards` writes the files again."""
    assert (PLACE / f"{uid}.json").read_text() == text_of(uid)


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_panels_fill_the_page_without_overlap(uid: str) -> None:
    """Grafana moves panels that overlap, so that a page would look other than planned."""
    cells: set[tuple[int, int]] = set()
    for entry in dashboard(uid)["panels"]:
        place = entry["gridPos"]
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & cells
        assert place["x"] + place["w"] <= 24
        cells |= own


def test_the_page_names_every_family_that_is_used() -> None:
    """Alerts and dashboards use no family that docs/metrics.md does not explain."""
    texts = [rule["expr"] for rule in ALERTS]
    texts += [json.dumps(dashboard(uid)) for uid in DASHBOARDS]
    names = {name for text in texts for name in re.findall(r"tieline_[a-z_0-9]+", text)}
    bases = {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}
    families = {name for name in bases if not name.startswith("tieline_process_")}
    assert families <= set(re.findall(r"`(tieline_[a-z_0-9]+)`", PAGE))
