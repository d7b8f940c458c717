"""callgauge: from call events in Kafka to live service level in Prometheus."""
