"""What tests need of the machine: programs of Debian's packages, or a reason not to test; and free ports."""

import shutil
import socket

import pytest

from tests.conftest import IN_CI

INSTALL = "apt-get install --no-install-recommends prometheus prometheus-alertmanager gcc libc6-dev"


def program(*names: str) -> str:
    """Return the path of the first of these programs that is installed; skip without one, and fail where CI=true."""
    for name in names:
        if path := shutil.which(name):
            return path
    if IN_CI:
        pytest.fail(f"no {names[0]}, and CI=true: {INSTALL}")
    pytest.skip(f"NO {names[0].upper()}, WHAT NEEDS IT IS NOT TESTED: {INSTALL}")


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
