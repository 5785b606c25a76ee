"""The configuration of stand-ins."""

import pytest

from lab.standins.config import ConfigError, parse

GOOD = """
provider: azure
region: uksouth
pools:
  - {deployment: gpt-4o, models: [chat-large], tokens_per_s: 1000}
"""


def test_yaml_of_one_or_of_several_processes() -> None:
    """A file describes one process, or several under ``processes``."""
    (one,) = parse(GOOD, "f.yaml")
    assert one.pool_id(one.pools[0]) == "azure/uksouth/gpt-4o"
    indented = GOOD.strip().replace("\n", "\n    ")
    assert parse(f"processes:\n  - {indented}", "f.yaml") == (one,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("1000", "-1"), r"f.yaml: .*\$.pools\[0\].tokens_per_s"),
        (GOOD + "colour: red\n", "unknown field `colour`"),
        (GOOD + "  - {deployment: gpt-4o, models: [x], tokens_per_s: 1}\n", "names a deployment twice"),
        (GOOD.replace("uksouth", "UK South"), r"\$.region"),
        ("provider: [", "f.yaml, line"),
        ("", "f.yaml"),
        ('{"provider": ', "not JSON"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, says: str) -> None:
    """Every mistake is one sentence with the file and the field or line."""
    with pytest.raises(ConfigError, match=says):
        parse(text, "f.yaml")
