"""From the configuration to what the clients are given: reads the files that it names, once."""

from stream.access.errors import AccessFileError
from stream.access.model import Access, Sasl, password_of, tls_context
from stream.settings import ConfigError, Settings


def access_of(settings: Settings) -> Access:
    """Return how Kafka is to be spoken to. Raises ConfigError when a file cannot be used."""
    kafka = settings.kafka
    sasl = None
    if kafka.security_protocol.sasl:
        password = kafka.sasl_password.get_secret_value()
        if kafka.sasl_password_file:
            try:
                password = password_of(kafka.sasl_password_file)
            except AccessFileError as error:
                raise ConfigError(f"kafka.{error}") from None
        sasl = Sasl(kafka.sasl_mechanism.value, kafka.sasl_username, password)
    if not kafka.security_protocol.tls:
        return Access(sasl)
    try:
        tls = tls_context(
            kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile, check_hostname=kafka.ssl_check_hostname
        )
    except AccessFileError as error:
        raise ConfigError(f"kafka.{error}") from None
    return Access(sasl, tls, kafka.ssl_cafile)
