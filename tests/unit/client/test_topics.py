"""The topics: what the logs that must be ordered or kept rely on."""

from tieline.topics import MIB, ROUTES_RECORD_MAX_BYTES, Topics


def test_ordered_logs_have_one_partition() -> None:
    """Kafka arbitrates leadership and orders routes and commands: one partition each."""
    topics = Topics(partitions=32)
    assert {t.partitions for t in (topics.routes, topics.leader, topics.commands)} == {1}
    assert topics.reports.partitions == 32


def test_every_topic_uses_the_brokers_clock() -> None:
    """Evidence time rests on LogAppendTime."""
    assert {t.config["message.timestamp.type"] for t in Topics().all()} == {"LogAppendTime"}


def test_a_rejected_record_fits_the_dead_letter_topic() -> None:
    """A body just under its topic's limit must fit with the headers that say why it was rejected."""
    topics = Topics()
    limits = {t.name: int(t.config["max.message.bytes"]) for t in topics.all()}
    inputs = (topics.reports, topics.statements, topics.capacity, topics.demand, topics.commands)
    assert max(limits[t.name] for t in inputs) + MIB <= limits[topics.deadletter.name]
    assert limits[topics.routes.name] > ROUTES_RECORD_MAX_BYTES


def test_perishable_reports_are_never_compacted() -> None:
    """A report is evidence for its window only; statements and capacity are views that replace each other."""
    topics = Topics("x")
    assert topics.reports.name == "x.reports"
    assert topics.reports.config["cleanup.policy"] == "delete"
    assert topics.demand.config["cleanup.policy"] == "delete"
    assert topics.capacity.config["cleanup.policy"] == "compact"
    assert topics.statements.config["cleanup.policy"] == "compact"
