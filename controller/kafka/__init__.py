"""Reading and writing Kafka."""
