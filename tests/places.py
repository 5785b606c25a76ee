"""Where the project's own files are, for tests."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
EXAMPLE_POLICY = EXAMPLES / "multicloud.yaml"
SMALL_POLICY = ROOT / "tests" / "scenarios" / "policies" / "small.yaml"
