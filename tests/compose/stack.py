"""docker-compose.yml as tests see it, without Docker."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
REQUIRED = re.compile(r"^\$\{(\w+):\?(.+)\}$")


def load(name: str) -> Any:
    """Return a YAML file of the project."""
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def compose() -> dict[str, Any]:
    """Return the whole file, anchors resolved and variables not filled in."""
    found: dict[str, Any] = load("docker-compose.yml")
    return found


def services() -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def environment(service: str) -> dict[str, str]:
    """Return the environment of a container."""
    return dict(services()[service].get("environment", {}))


def mounts(service: str) -> dict[str, tuple[str, bool]]:
    """Return target -> source and whether it can be written."""
    parts = [mount.split(":") for mount in services()[service].get("volumes", [])]
    return {target: (source, mode != ["ro"]) for source, target, *mode in parts}


def ports(service: str) -> list[tuple[str, str, str]]:
    """Return address, port or ports of this machine, and port of the container."""
    found = [tuple(port.split(":")) for port in services()[service].get("ports", [])]
    assert all(len(port) == 3 for port in found), f"{service}: a port without an address listens everywhere"
    return found  # type: ignore[return-value]


def callgauge_services() -> list[str]:
    """Return the services that run our image."""
    return [name for name, service in services().items() if "build" in service]
