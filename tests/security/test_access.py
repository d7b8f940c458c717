"""Files with certificates, keys and passwords: read once, and refused in one line that repeats nothing of them."""

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from stream.access import Access, Sasl, access_of
from stream.access.model import PASSWORD_BYTES_MAX
from stream.settings import ConfigError, load

CANARY = "canary-of-a-file"


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """Give a directory with good files and bad ones, as the current one."""
    monkeypatch.chdir(tmp_path)
    authority = trustme.CA()
    leaf = authority.issue_cert("client.example")
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(CANARY.encode()))
    contents = {
        "ca.pem": authority.cert_pem.bytes(),
        "cert.pem": leaf.cert_chain_pems[0].bytes(),
        "key.pem": leaf.private_key_pem.bytes(),
        "other-key.pem": authority.issue_cert("other.example").private_key_pem.bytes(),
        "locked-key.pem": locked,
        "text": CANARY.encode(),
        "empty": b"",
        "password": CANARY.encode() + b"\r\n",
        "lines": f"{CANARY}\n{CANARY}\n".encode(),
        "bytes": CANARY.encode() + b"\xff",
        "longest": b"x" * PASSWORD_BYTES_MAX,
        "long": b"x" * (PASSWORD_BYTES_MAX + 1),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def access(**kafka: str) -> Access:
    """Return the access of some `[kafka]` settings."""
    return access_of(
        load(environ={f"CALLGAUGE_KAFKA__{key.upper()}": text for key, text in kafka.items()}).settings
    )


TLS = {"security_protocol": "SSL"}
PASSWORD = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "u"}
BAD = [
    (TLS, {"ssl_cafile": "none"}, "kafka.ssl_cafile none cannot be read: no such file or directory"),
    (TLS, {"ssl_cafile": "text"}, "kafka.ssl_cafile text holds no certificates in PEM form"),
    (TLS, {"ssl_cafile": "empty"}, "kafka.ssl_cafile empty holds no certificates in PEM form"),
    (
        TLS,
        {"ssl_certfile": "cert.pem"},
        "kafka.ssl_certfile cert.pem hold no certificate in PEM form with the key",
    ),
    (TLS, {"ssl_certfile": "cert.pem", "ssl_keyfile": "other-key.pem"}, "with the key that belongs to it"),
    (TLS, {"ssl_certfile": "cert.pem", "ssl_keyfile": "none"}, "cannot be read: no such file or directory"),
    (
        TLS,
        {"ssl_certfile": "cert.pem", "ssl_keyfile": "locked-key.pem"},
        "kafka.ssl_keyfile has a passphrase",
    ),
    (PASSWORD, {"sasl_password_file": "none"}, "kafka.sasl_password_file none cannot be read"),
    (PASSWORD, {"sasl_password_file": "."}, "kafka.sasl_password_file . cannot be read: is a directory"),
    (
        PASSWORD,
        {"sasl_password_file": "empty"},
        "kafka.sasl_password_file empty must hold the password, on one line",
    ),
    (
        PASSWORD,
        {"sasl_password_file": "lines"},
        "kafka.sasl_password_file lines must hold the password, on one line",
    ),
    (
        PASSWORD,
        {"sasl_password_file": "bytes"},
        "kafka.sasl_password_file bytes is no password: it is not UTF-8",
    ),
    (
        PASSWORD,
        {"sasl_password_file": "long"},
        "kafka.sasl_password_file long is no password: it has more than 4096",
    ),
]


@pytest.mark.parametrize(("base", "more", "text"), BAD)
def test_a_file_that_cannot_be_used_is_named_and_never_quoted(files, base, more, text):
    """The configuration is wrong, whatever Kafka would say."""
    with pytest.raises(ConfigError) as caught:
        access(**base, **more)

    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_password_from_a_file_loses_only_the_end_of_its_line(files):
    """Editors end the last line; the longest password is allowed."""
    password, longest = ({"sasl_password_file": name} for name in ("password", "longest"))

    assert access(**PASSWORD, **password).sasl == Sasl("SCRAM-SHA-512", "u", CANARY)
    assert len(access(**PASSWORD, **longest).sasl.password) == PASSWORD_BYTES_MAX


def test_certificates_are_verified_whatever_is_configured(files):
    """Only the comparison of names can be turned off; old versions of TLS are not spoken."""
    for check in ("true", "false"):
        context = access(**TLS, ssl_cafile="ca.pem", ssl_check_hostname=check).tls

        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname is (check == "true")
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_every_client_gets_the_protocol_that_is_configured(files, protocol):
    """None falls back to less than that; and nothing that is printed shows the password."""
    password = {"sasl_username": "u", "sasl_password": CANARY} if protocol.startswith("SASL") else {}
    given = access(security_protocol=protocol, **password)

    assert given.client_options()["security_protocol"] == protocol
    credentials = given.app_options().get("broker_credentials")
    assert (credentials.protocol.value if credentials else "PLAINTEXT") == protocol
    assert CANARY not in repr(given) + repr(credentials)
