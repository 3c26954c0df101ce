"""A real Apache Kafka broker: where it is installed, how it is configured and run."""
