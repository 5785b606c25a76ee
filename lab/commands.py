"""The commands that the lab adds to `tieline`, by the entry point `tieline.commands`."""

from controller.cli import Command

COMMANDS = {
    "demo": Command("lab.demo.command", "the main job, from failures to figures, on this machine"),
    "stack": Command("lab.stack.command", "an embedded Kafka and Valkey, for a first try"),
    "standins": Command("lab.standins.command", "stand-ins for providers, for a first try"),
}
