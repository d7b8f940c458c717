"""The broker's properties file."""

from pathlib import Path

from stream.kafka.properties import Ports, read_ports, render


def test_ports_are_read_back() -> None:
    """What is written is found again."""
    ports = Ports(19_092, 19_093)

    assert read_ports(render(ports, Path("/data"), {})) == ports


def test_a_foreign_file_has_no_ports() -> None:
    """The properties of another Kafka are not taken for ours."""
    assert read_ports("listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n") is None


def test_the_callers_settings_win() -> None:
    """A setting given to the broker replaces the built-in one and appears once."""
    text = render(Ports(1, 2), Path("/data"), {"num.partitions": "7"})

    assert [line for line in text.splitlines() if line.startswith("num.partitions")] == ["num.partitions=7"]


def test_listeners_are_added_to_ours() -> None:
    """Tests open listeners with TLS; the plain one stays, and its port is found again."""
    ports = Ports(1, 2)
    text = render(ports, Path("/data"), {"listeners": "TLS://127.0.0.1:3"})

    assert "\nlisteners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2,TLS://127.0.0.1:3\n" in text
    assert read_ports(text) == ports
