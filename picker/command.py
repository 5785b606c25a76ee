"""`tieline picker --config FILE`: picks pools for Envoy and other gateways, until SIGTERM."""

import argparse
import os
from pathlib import Path
from typing import Any

from controller.process.errors import SettingError
from controller.process.settings import REDIS, add_monitor_argument, add_stack_arguments, read_settings
from controller.process.telemetry import configure
from picker.settings import load_picker_file

NO_EXTRA = "hpack and protobuf are not installed: pip install 'tieline-controller[picker]'"


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "picker",
        description="Serves Envoy's external processing (ext_proc) as an endpoint picker of the Gateway API "
        "Inference Extension: says for each request which pool it goes to, by the route table, and reports "
        "how it ended. Any number may run. See docs/picker.md.",
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="what to pick for, a YAML file"
    )
    parser.add_argument(
        "--listen", metavar="ADDRESS:PORT", help="listen here in the place of the file's address"
    )
    parser.add_argument("--check", action="store_true", help="only check the file")
    add_monitor_argument(parser)
    add_stack_arguments(parser, follows_current=False)


def run(args: argparse.Namespace) -> int:
    """0 after a signal or when all is well."""
    file = load_picker_file(args.config, listen=args.listen or "")
    if args.check:
        workloads = ", ".join(sorted({f"{rule.workload}/{rule.origin}" for rule in file.routes}))
        print(f"{args.config}: {len(file.routes)} rules for {workloads}")
        return 0
    settings = read_settings(args, os.environ, needs=() if file.tables else (REDIS,))
    configure()
    try:
        import uvloop

        from picker.run import run_picker
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("hpack", "google"):
            raise
        raise SettingError(NO_EXTRA) from None
    return uvloop.run(run_picker(settings, file))
