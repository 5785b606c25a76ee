"""A package that pip-audit could not look up is not a clean one. The reports are pip-audit 2.10.1's own."""

import json

import pytest

from tools.audit import verdict

KNOWN = '{"name": "msgspec", "version": "0.22.0", "vulns": []}'
FLAWED = (
    '{"name": "idna", "version": "3.6", "vulns": [{"id": "PYSEC-2024-60", "fix_versions": ["3.7"], '
    '"aliases": ["CVE-2024-3651"]}]}'
)
SKIPPED = (
    '{"name": "aiohttp", "skip_reason": '
    '"Dependency not found on PyPI and could not be audited: aiohttp (3.14.5)"}'
)
CLEAN_SAYS = "no known vulnerability in 1 packages, 1 in the image"
FLAW_SAYS = "PYSEC-2024-60 CVE-2024-3651, fixed in 3.7"
SKIP_SAYS = "NOT AUDITED, there is no data on 1 packages: aiohttp"


@pytest.mark.parametrize(
    ("report", "image", "status", "said"),
    [
        ([KNOWN], ["msgspec==0.22.0"], 0, [CLEAN_SAYS]),
        ([KNOWN, FLAWED], ["idna==3.6"], 1, [f"idna==3.6 in the image: {FLAW_SAYS}"]),
        ([KNOWN, FLAWED], ["msgspec==0.22.0"], 1, [f"idna==3.6: {FLAW_SAYS}"]),
        ([KNOWN, SKIPPED], ["msgspec==0.22.0"], 69, [SKIP_SAYS]),
        ([FLAWED, SKIPPED], ["idna==3.6"], 1, [f"idna==3.6 in the image: {FLAW_SAYS}", SKIP_SAYS]),
        ([KNOWN], ["aiohttp==3.14.5", "msgspec==0.22.0"], 69, [SKIP_SAYS]),
    ],
    ids=["clean", "found", "found elsewhere", "skipped", "found and skipped", "not in the report"],
)
def test_only_an_answer_for_every_package_is_clean(
    report: list[str], image: list[str], status: int, said: list[str]
) -> None:
    """0 needs an answer for every package and nothing found; findings are told with what is missing."""
    packages = json.loads(f'{{"dependencies": [{", ".join(report)}], "fixes": []}}')["dependencies"]
    assert verdict(packages, image) == (status, said)
