"""One look at the brokers before any client starts: whether we are let in, and talk to whom we should.

The clients take a wrong password or certificate for a broker that will come back: they try again for ever, ten
times a second, and write what happened into different lines of a log. So each command looks once, with
aiokafka's own connection, at a bootstrap server and then at every broker that it names. Where that fails, a
few bare connections find out what the port speaks instead. They send no password and trust nothing.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NoReturn

from aiokafka import errors as client_errors
from aiokafka.conn import create_conn
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from stream.access.errors import KafkaRefusedError, KafkaUnreachableError
from stream.access.model import Access

LOOK_TIMEOUT_MS: Final = 5_000
# Brokers share certificates and passwords: a few tell it all, and the look stays one look.
BROKERS_LOOKED_AT_MAX: Final = 16
_ALERT_WAIT_S: Final = 1.0  # a broker that is content says nothing until it is asked
PORT: Final = 9_092
CLIENT_ID: Final = "callgauge-look"
# Kafka's error codes of a SaslHandshake that was expected, though not with this mechanism
_EXPECTED: Final = (0, client_errors.UnsupportedSaslMechanismError.errno)
_LOST: Final = (client_errors.KafkaConnectionError, ConnectionError, ssl.SSLError)
_FAILED: Final = (client_errors.KafkaError, OSError, asyncio.TimeoutError)
# OpenSSL's numbers (X509_V_ERR_...)
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_WRONG_NAME: Final = frozenset({62, 64})
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})


async def reach(servers: Sequence[str], access: Access) -> None:
    """Return when Kafka lets us in. Raises KafkaUnreachableError, or KafkaRefusedError with the line to tell."""
    error: Exception = KafkaUnreachableError("no server is configured")
    for server in servers:
        try:
            brokers = await _look(server, access)
        except KafkaUnreachableError as caught:
            error = caught
            continue
        others = [broker for broker in brokers if broker != server][:BROKERS_LOOKED_AT_MAX]
        await asyncio.gather(*(_look_in_passing(broker, access) for broker in others))
        return
    raise KafkaUnreachableError(f"cannot reach Kafka at {','.join(servers)} ({error})") from error


async def _look_in_passing(server: str, access: Access) -> None:
    with suppress(KafkaUnreachableError):  # the others may do
        await _look(server, access)


async def _look(server: str, access: Access) -> list[str]:
    """Return the brokers of the cluster."""
    try:
        async with _connection(server, access.client_options()) as connection:
            metadata = await connection.send(MetadataRequest([]))
            return [f"{host}:{port}" for _, host, port, *_ in metadata.brokers]
    except ssl.SSLCertVerificationError as error:
        raise _refused(server, _certificate(error, access)) from error
    except client_errors.UnsupportedSaslMechanismError as error:
        raise _refused(server, f"it does not take {_mechanism(access)}; set kafka.sasl_mechanism") from error
    except (client_errors.SaslAuthenticationFailed, client_errors.AuthenticationFailedError) as error:
        raise _refused(server, _password(access)) from error
    except client_errors.IllegalSaslStateError as error:
        inner = access.protocol.removeprefix("SASL_")
        raise _refused(
            server, f'it asks for no password here; set kafka.security_protocol = "{inner}"'
        ) from error
    except _LOST as error:
        await _explain(server, access, error)
    except _FAILED as error:
        raise KafkaUnreachableError(type(error).__name__) from error


@asynccontextmanager
async def _connection(server: str, options: dict[str, Any]) -> AsyncIterator[Any]:
    host, port = _address(server)
    connection = await create_conn(
        host,
        port,
        client_id=CLIENT_ID,
        request_timeout_ms=LOOK_TIMEOUT_MS,
        max_idle_ms=None,
        **options,
    )
    try:
        yield connection
    finally:
        with suppress(*_FAILED):
            await connection.close()


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return (host.strip("[]"), int(port)) if host else (server, PORT)


def _refused(server: str, why: str) -> KafkaRefusedError:
    return KafkaRefusedError(f"no connection to Kafka at {server}: {why}")


def _mechanism(access: Access) -> str:
    return access.sasl.mechanism if access.sasl is not None else ""


def _password(access: Access) -> str:
    name = access.sasl.username if access.sasl is not None else ""
    return (
        f"the user {name} or its password is wrong for {_mechanism(access)}; "
        "look at kafka.sasl_username, kafka.sasl_mechanism and the password"
    )


def _certificate(error: ssl.SSLCertVerificationError, access: Access) -> str:
    if error.verify_code == _EXPIRED:
        return "its certificate has expired; the broker needs a new one"
    if error.verify_code == _NOT_YET_VALID:
        return "its certificate is not valid yet; compare the clocks of both machines"
    if error.verify_code in _WRONG_NAME:
        return (
            "its certificate is for another host name; write the name that stands in it into "
            "kafka.bootstrap_servers and the broker's advertised.listeners"
        )
    if error.verify_code in _UNKNOWN_AUTHORITY:
        authorities = f"in {access.cafile}" if access.cafile else "of this system"
        return (
            f"its certificate is from none of the authorities {authorities}; "
            "set kafka.ssl_cafile to the one that the broker's is from"
        )
    return f"its certificate cannot be verified: {error.verify_message}"


# --- what does the port speak? ------------------------------------------------------------------------------


async def _explain(server: str, access: Access, error: Exception) -> NoReturn:
    """Find out why a connection was cut; say that it is unreachable when nothing else can be shown."""
    sasl = "SASL_" if access.sasl is not None else ""
    if access.tls is None and await _speaks_tls(server):
        why = f'it speaks TLS here; set kafka.security_protocol = "{sasl}SSL"'
        raise _refused(server, why) from error
    if access.tls is not None and await _speaks_kafka(server, Access()):
        why = f'it does not speak TLS here; name its TLS port, or set kafka.security_protocol = "{sasl}PLAINTEXT"'
        raise _refused(server, why) from error
    if access.tls is not None and await _wants_certificate(server, access.tls):
        why = "it asks for a certificate that it trusts; set kafka.ssl_certfile and kafka.ssl_keyfile"
        raise _refused(server, why) from error
    if access.sasl is None and await _wants_password(server, access):
        why = f'it asks for a password here; set kafka.security_protocol = "SASL_{access.protocol}"'
        raise _refused(server, why) from error
    raise KafkaUnreachableError(type(error).__name__) from error


async def _speaks_kafka(server: str, access: Access) -> bool:
    """Say whether the first question that any client asks is answered."""
    try:
        async with _connection(server, access.client_options()):
            return True
    except _FAILED:
        return False


async def _wants_password(server: str, access: Access) -> bool:
    try:
        async with _connection(server, access.client_options()) as connection:
            answer = await connection.send(SaslHandShakeRequest("PLAIN"))
            return answer.error_code in _EXPECTED
    except _FAILED:
        return False


async def _speaks_tls(server: str) -> bool:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE  # nothing is told to whoever it is
    try:
        await _shake_hands(server, trusting)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except _FAILED:
        return False
    return True


async def _wants_certificate(server: str, context: ssl.SSLContext) -> bool:
    """Say whether ours is missing or not trusted: with TLS 1.3 that is told after the hands are shaken."""
    try:
        await _shake_hands(server, context)
    except ssl.SSLError as error:
        reason = error.reason or ""
        return "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)
    except _FAILED:
        return False
    return False


async def _shake_hands(server: str, context: ssl.SSLContext) -> None:
    host, port = _address(server)
    async with asyncio.timeout(LOOK_TIMEOUT_MS / 1_000):
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_ALERT_WAIT_S):
                await reader.read(1)
    finally:
        writer.close()
        with suppress(*_FAILED):
            await writer.wait_closed()
