"""Why there is no connection: what waiting may cure, and what it cannot."""


class KafkaUnreachableError(Exception):
    """No bootstrap server answers; worth another attempt."""


class KafkaRefusedError(Exception):
    """A broker answers, and one of the two sides does not trust the other; trying again would not help."""


class AccessFileError(Exception):
    """A file with a certificate, a key or a password cannot be used: one line that begins with the key."""
