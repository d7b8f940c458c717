"""callgauge: from call events in Kafka to live service level in Prometheus."""

from stream import compiled

compiled.use()
