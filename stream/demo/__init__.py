"""Everything on one machine: embedded Kafka, simulated shift, worker, wall."""
