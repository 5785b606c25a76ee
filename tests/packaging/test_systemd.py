"""The units of deploy/systemd are valid, and leave a service little that it could do harm with."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from controller.cli import COMMANDS, _parser
from gateway.configuration import Draining
from gateway.worker import TELL_WITHIN_S
from picker.settings import PickerFile, Rule
from tests.places import ROOT
from tools.debian import programs

PLACE = ROOT / "deploy" / "systemd"
UNITS = sorted(path.name for path in PLACE.glob("*.service"))
EXPOSURE_MAX = 20  # of 100: systemd calls 14 "OK" and a service without any limit 96
PROGRAMS = ("/opt/tieline/bin/tieline", "/usr/bin/envoy")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze, with the library that an unpacked package has beside it."""
    place = programs("systemd", "systemd-analyze")
    libraries = place.parent / "lib" / "x86_64-linux-gnu" / "systemd"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries), "SYSTEMD_PAGER": ""}
    command = [str(place / "systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit whose program exists on this machine, and those that it names beside it."""
    name: str = request.param
    for unit_name in UNITS:
        text = (PLACE / unit_name).read_text()
        for program in PROGRAMS:
            text = text.replace(program, "/bin/true")
        (tmp_path / unit_name).write_text(text)
    return tmp_path / name


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


def values_of(name: str, setting: str) -> list[str]:
    """What a unit says under this name, line by line."""
    lines = (PLACE / name).read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{setting}=")]


@pytest.mark.parametrize("name", UNITS)
def test_commands_exist(name: str) -> None:
    """Tieline's own parser takes the words of each unit that runs it."""
    [command] = values_of(name, "ExecStart")
    program, *words = shlex.split(command)
    if program == PROGRAMS[0]:
        assert _parser(COMMANDS, words[0]).parse_args(words).command == words[0]


def test_services_get_the_time_that_their_end_may_take() -> None:
    """systemd kills the gateway and the picker only after what their files allow by default."""
    draining, routes = Draining(), (Rule(workload="chat", origin="eu"),)
    gateway_s = draining.notice_s + draining.within_s + TELL_WITHIN_S
    picker_s = PickerFile(listen="127.0.0.1:9002", routes=routes).drain_s
    for name, end_s in (("tieline-gateway.service", gateway_s), ("tieline-picker.service", picker_s)):
        [limit] = values_of(name, "TimeoutStopSec")
        assert float(limit.removesuffix("s")) >= end_s + 5


def test_envoy_reads_what_tieline_writes() -> None:
    """Both services have one user and one directory, and Envoy starts with the file in it."""
    units = ("tieline-envoy.service", "tieline-envoy-proxy.service")
    for setting in ("User", "StateDirectory"):
        assert values_of(units[0], setting) == values_of(units[1], setting) == ["tieline-envoy"]
    words, started = (shlex.split(values_of(name, "ExecStart")[0]) for name in units)
    assert f"{words[2]}/bootstrap.json" in started
    assert words[2].startswith("/var/lib/tieline-envoy/")
