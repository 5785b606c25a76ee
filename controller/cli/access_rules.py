"""Who needs which rights at Kafka and Redis, by role. Nothing else is needed, so nothing else is given.

A role is what a program is, and has a user of its own:

- ``producer``: sends reports, statements, capacity and answers to requests for capacity, and asks the
  published policy and its own dead letters whether they were taken.
- ``collector``: `tieline collect`, a producer that also finds its own statements again after a restart.
- ``client``: an application that follows tables and reports demand. ``sharing_client`` shares also which pool
  holds what (``holders=``).
- ``web``: `tieline web`, which serves tables, takes clients' reports and shows the page.
- ``notifier``: `tieline notify`, which reads the history.
- ``operator``: a person's commands. What an order may do is decided by its signature.
- ``controller``: everything in its own namespace.

Sources are told apart by their keys (``public_keys`` in the policy), because Kafka does not tell a reader who
wrote a record. That the rights are enough, and forbid the rest: tests/integration/test_secured.py.
"""

from typing import NamedTuple

from streams.settings import IngestSettings
from tieline.keys import Keys
from tieline.topics import Topics

ROLES = ("producer", "collector", "client", "sharing_client", "web", "notifier", "operator", "controller")
# A node of a cluster is asked where the keys are (tieline.redis_primary).
_WHERE = ("+cluster|info", "+cluster|slots")
_CONNECTING = ("+ping", "+select", "+hello", "+client|setinfo", "+client|setname", *_WHERE)
_FOLLOWING = ("+get", "+hget", "+hmget", "+hgetall", "+subscribe", "+unsubscribe")
_SHARING = ("+eval", "+time", "+hset", "+hdel", "+zadd", "+zcard", "+zcount", "+zrange", "+zrem", "+pexpire")


class KafkaRight(NamedTuple):
    """What Kafka allows a user: an ``operation`` on a ``resource`` (topic, group or cluster). ``is_prefix``:
    on all whose names begin with ``name``."""

    operation: str
    resource: str
    name: str
    is_prefix: bool = False

    @property
    def flags(self) -> str:
        """As `kafka-acls.sh` takes it."""
        if self.resource == "cluster":
            return f"--operation {self.operation} --cluster"
        pattern = " --resource-pattern-type prefixed" if self.is_prefix else ""
        return f"--operation {self.operation} --{self.resource} {self.name}{pattern}"


def kafka_rights(role: str, namespace: str) -> tuple[KafkaRight, ...]:
    """The rights of this role. Raises KeyError for another one."""
    topics = Topics(namespace)
    evidence = (topics.reports, topics.statements, topics.capacity)
    shown = (
        *(topics.routes, topics.leader, topics.commands, topics.offers, topics.controllers),
        *(topics.decisions, topics.history, topics.usage, topics.deadletter),
    )
    writes = {
        "producer": (*evidence, topics.offers),
        "collector": (*evidence, topics.offers),
        "client": (topics.demand,),
        "sharing_client": (topics.demand,),
        "web": (topics.demand,),
        "notifier": (),
        "operator": (topics.commands, topics.deadletter),
        "controller": (),
    }[role]
    reads = {
        "producer": (topics.routes, topics.deadletter),
        "collector": (topics.routes, topics.deadletter, topics.statements),
        "web": shown,
        "notifier": (topics.history,),
        "operator": shown,
    }.get(role, ())
    rights = [KafkaRight("Write", "topic", topic.name) for topic in writes]
    rights += [KafkaRight("Read", "topic", topic.name) for topic in reads]
    rights += _other_rights(role, namespace)
    return tuple(rights)


def _other_rights(role: str, namespace: str) -> list[KafkaRight]:
    everything = f"{namespace}."
    match role:
        case "notifier":
            return [KafkaRight("Read", "group", f"{namespace}.notify.", is_prefix=True)]
        case "operator":
            return [KafkaRight("DescribeConfigs", "topic", everything, is_prefix=True)]
        case "controller":
            operations = ("Read", "Write", "Create", "DescribeConfigs")
            rights = [KafkaRight(item, "topic", everything, is_prefix=True) for item in operations]
            group = IngestSettings("", namespace).group
            return [*rights, KafkaRight("Read", "group", group), KafkaRight("Describe", "cluster", "")]
        case _:
            return []


def redis_rules(role: str, namespace: str) -> tuple[str, ...]:
    """The words of `ACL SETUSER` for this role, none for a role that needs no Redis. They leave the user's
    password as it is. Raises KeyError for another role."""
    keys = Keys(namespace)
    everything = f"{{{namespace}}}:*"
    no_rights = ("on", "resetkeys", "resetchannels", "clearselectors", "-@all")
    table = (
        *(f"%R~{keys.routes}", f"%R~{keys.overlay}"),
        *(f"&{keys.routes_hint}", f"&{keys.overlay_hint}"),
    )
    reader = (f"%R~{everything}", f"&{everything}", *_CONNECTING, *_FOLLOWING)
    rules = {
        "producer": (),
        "collector": (),
        "notifier": (),
        "client": (*table, *_CONNECTING, *_FOLLOWING),
        "sharing_client": (
            *table,
            f"~{keys.holders}",
            f"~{keys.holders_order}",
            *_CONNECTING,
            *_FOLLOWING,
            *_SHARING,
        ),
        "web": reader,
        "operator": (
            *reader,
            f"~{keys.overlay}",
            f"~{keys.adoption}",
            *("+set", "+multi", "+exec", "+info"),
            # A channel that a user may subscribe to is otherwise also one to publish on.
            f"(+publish &{keys.overlay_hint})",
        ),
        "controller": (
            *(f"~{everything}", f"&{everything}", "+@all", "-@admin", "-@dangerous", "+info"),
            *_CONNECTING,
        ),
    }[role]
    return (*no_rights, *rules) if rules else ()
