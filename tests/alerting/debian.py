"""The programs of Debian's packages prometheus and prometheus-alertmanager: here, or a reason not to test."""

import shutil

import pytest

from tests.conftest import IN_CI

INSTALL = "apt-get install --no-install-recommends prometheus prometheus-alertmanager"


def program(*names: str) -> str:
    """Return the path of the first of these programs that is installed; skip without one, and fail where CI=true."""
    for name in names:
        if path := shutil.which(name):
            return path
    if IN_CI:
        pytest.fail(f"no {names[0]}, and CI=true: {INSTALL}")
    pytest.skip(f"NO {names[0].upper()}, WHAT NEEDS IT IS NOT TESTED: {INSTALL}")
