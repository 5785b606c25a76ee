"""How events reach Kafka."""
