"""The HTTP endpoint: tables for clients that must not reach Redis, reports for those that must not reach
Kafka, in a process of its own so that it never delays a heartbeat or a decision."""
