"""The units of deploy/systemd are valid, and leave a service little that it could do harm with."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.places import ROOT
from tools.debian import programs

PLACE = ROOT / "deploy" / "systemd"
UNITS = sorted(path.name for path in PLACE.glob("*.service"))
EXPOSURE_MAX = 20  # of 100: systemd calls 14 "OK" and a service without any limit 96
PROGRAM = "/opt/tieline/bin/tieline"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze, with the library that an unpacked package has beside it."""
    place = programs("systemd", "systemd-analyze")
    libraries = place.parent / "lib" / "x86_64-linux-gnu" / "systemd"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries), "SYSTEMD_PAGER": ""}
    command = [str(place / "systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit whose program exists on this machine."""
    name: str = request.param
    copy = tmp_path / name
    copy.write_text((PLACE / name).read_text().replace(PROGRAM, "/bin/true"))
    return copy


@pytest.mark.parametrize("unit", UNITS, indirect=True)
def test_units_are_valid(unit: Path) -> None:
    """systemd knows every setting, and warns of none."""
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, indirect=True)
def test_units_are_hardened(unit: Path) -> None:
    """By systemd's own count a service is hardly exposed."""
    done = analyze("security", "--offline=yes", "--no-pager", f"--threshold={EXPOSURE_MAX}", str(unit))
    assert done.returncode == 0, done.stdout[-200:]


@pytest.mark.parametrize("name", UNITS)
def test_secrets_come_from_files(name: str) -> None:
    """No unit names a password; each credential that is loaded is used, and none is used that is not
    loaded."""
    text = (PLACE / name).read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    loaded = {
        line.partition("=")[2].partition(":")[0] for line in lines if line.startswith("LoadCredential=")
    }
    uses = "\n".join(line for line in lines if not line.startswith("LoadCredential="))
    for secret in loaded:
        assert f"%d/{secret}" in uses or f"${{CREDENTIALS_DIRECTORY}}/{secret}" in uses
    assert uses.count("%d/") + uses.count("${CREDENTIALS_DIRECTORY}/") == len(loaded)
    assert "PASSWORD=" not in text
