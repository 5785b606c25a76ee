"""The commands that this distribution adds to `tieline`, by the entry point `tieline.commands`.

`controller.cli` lists them only if this distribution is installed.
"""

from controller.cli import Command

COMMANDS = {
    "demo": Command("lab.demo.command", "the whole system under faults, on this machine"),
    "fuzz": Command("lab.sim.command", "generated worlds in virtual time, each checked against the design"),
    "sim": Command("lab.system.command", "the whole system in virtual time, in worlds that seeds make"),
    "stack": Command("lab.stack.command", "an embedded Kafka and Valkey, for a first try"),
    "standins": Command("lab.standins.command", "stand-ins for providers, for a first try"),
}
