"""What can go wrong with the embedded Kafka: one class a cause, one line a message.

Every message says what happened, where, and what to do about it.
"""


class EmbeddedKafkaError(RuntimeError):
    """The embedded Kafka cannot do what was asked; the base of all errors here."""


class ExtraMissingError(EmbeddedKafkaError):
    """The Python packages of the `kafka` extra are not installed."""


class JavaMissingError(EmbeddedKafkaError):
    """There is no Java on this machine, neither its own nor the one of the extra."""


class JavaTooOldError(EmbeddedKafkaError):
    """The only Java on this machine is older than Kafka needs."""


class JarFetchError(EmbeddedKafkaError):
    """Kafka's jars are not cached and could not be fetched."""


class JarChecksumError(JarFetchError):
    """A fetched jar is not the one that the lock file names."""


class PortTakenError(EmbeddedKafkaError):
    """Another program listens on the port that the broker should use."""


class DiskFullError(EmbeddedKafkaError):
    """There is no room for the broker's data."""


class DataInUseError(EmbeddedKafkaError):
    """Another broker works in the data directory."""


class NotKafkaDataError(EmbeddedKafkaError):
    """The data directory holds something that is not an embedded Kafka's data."""


class BrokerDiedError(EmbeddedKafkaError):
    """The Java process ended by itself."""


class StartTimeoutError(EmbeddedKafkaError):
    """The broker runs but did not become ready in time."""
