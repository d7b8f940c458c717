"""What a client needs to be let in, and to know whom it talks to.

There is one place where the options of the three Kafka clients are made (aiokafka, Faust around it, and
kafka-python), so that none of them can be forgotten and speak plaintext. Certificates are always verified:
there is no way to turn that off, only the comparison of host names.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stream.access.errors import AccessFileError

# A password that is longer is a file named by mistake; Kafka's own tokens have about 1,000 characters.
PASSWORD_BYTES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Sasl:
    """Who we are. The password is in no representation of this."""

    mechanism: str  # PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """How a broker is spoken to; nothing given is plaintext without a password."""

    sasl: Sasl | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    cafile: str = ""  # for messages

    @property
    def protocol(self) -> str:
        """Return Kafka's name for the combination."""
        inner = "SSL" if self.tls is not None else "PLAINTEXT"
        return f"SASL_{inner}" if self.sasl is not None else inner

    def client_options(self) -> dict[str, Any]:
        """Return the options of aiokafka's clients, which kafka-python's clients take by the same names."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.tls is not None:
            options["ssl_context"] = self.tls
        if self.sasl is not None:
            options["sasl_mechanism"] = self.sasl.mechanism
            options["sasl_plain_username"] = self.sasl.username
            options["sasl_plain_password"] = self.sasl.password
        return options

    def app_options(self) -> dict[str, Any]:
        """Return the options of a Faust app."""
        from faust import SASLCredentials, SSLCredentials  # noqa: PLC0415 - half a second, for the worker only

        if self.sasl is not None:
            return {
                "broker_credentials": SASLCredentials(
                    username=self.sasl.username,
                    password=self.sasl.password,
                    mechanism=self.sasl.mechanism,
                    ssl_context=self.tls,
                )
            }
        return {"broker_credentials": SSLCredentials(self.tls)} if self.tls is not None else {}


def tls_context(cafile: str, certfile: str, keyfile: str, *, check_hostname: bool) -> ssl.SSLContext:
    """Return the context of every connection. Empty names: the system's authorities, no certificate of ours.

    Raises AccessFileError.
    """
    try:
        context = ssl.create_default_context(cafile=cafile or None)
    except OSError as error:
        raise AccessFileError(
            f"ssl_cafile {cafile} {_reason(error, 'holds no certificates in PEM form')}"
        ) from None
    if certfile:
        try:
            # without a password of its own OpenSSL would ask for one on the terminal
            context.load_cert_chain(certfile, keyfile or None, password=_no_passphrase)
        except OSError as error:
            files = (
                f"ssl_certfile {certfile} and ssl_keyfile {keyfile}"
                if keyfile
                else f"ssl_certfile {certfile}"
            )
            reason = _reason(error, "hold no certificate in PEM form with the key that belongs to it")
            raise AccessFileError(f"{files} {reason}") from None
    context.check_hostname = check_hostname
    return context


def _no_passphrase() -> str:
    raise AccessFileError("ssl_keyfile has a passphrase: store it without one, readable by its owner only")


def _reason(error: OSError, otherwise: str) -> str:
    if isinstance(error, ssl.SSLError):
        return otherwise
    return f"cannot be read: {(error.strerror or 'it cannot be opened').lower()}"


def password_of(file: str) -> str:
    """Return the password in a file, without the end of its line. Raises AccessFileError."""
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(PASSWORD_BYTES_MAX + 1)
    except OSError as error:
        raise AccessFileError(f"sasl_password_file {file} {_reason(error, '')}") from None
    if len(content) > PASSWORD_BYTES_MAX:
        raise AccessFileError(
            f"sasl_password_file {file} is no password: it has more than {PASSWORD_BYTES_MAX} bytes"
        )
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise AccessFileError(f"sasl_password_file {file} is no password: it is not UTF-8") from None
    if not password or "\n" in password:
        raise AccessFileError(f"sasl_password_file {file} must hold the password, on one line")
    return password
