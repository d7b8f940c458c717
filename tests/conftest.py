"""What every test may use: one real broker for the whole run, unique names, printed seeds."""

import os
import random
import shutil
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from stream.kafka import (
    EmbeddedKafka,
    ExtraMissingError,
    JarFetchError,
    JavaMissingError,
    JavaTooOldError,
)

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
# No deadline: a test that waits for the second core is slow, not wrong.
hypothesis.settings.register_profile("dev", max_examples=100, deadline=None)
hypothesis.settings.register_profile(
    "ci", max_examples=200, deadline=None, derandomize=True, database=None, print_blob=True
)
hypothesis.settings.register_profile("nightly", max_examples=20_000, deadline=None, print_blob=True)
MISSING = (ExtraMissingError, JarFetchError, JavaMissingError, JavaTooOldError)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if IN_CI else "dev")
hypothesis.settings.load_profile(PROFILE)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give Hypothesis a seed that can be printed, and excuse one warning of one library."""
    # kafka-python 3.0.12 loads its message schemas with two functions that Python 3.11 and 3.12 deprecate
    config.addinivalue_line(
        "filterwarnings",
        "ignore:(read|open)_text is deprecated:DeprecationWarning:"
        r"(kafka\.protocol\.schemas\.load_json|importlib\.resources\._legacy)",
    )
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(BrokerOfTheRun())
    if config.getoption("hypothesis_seed", None) is None and PROFILE != "ci":
        config.option.hypothesis_seed = str(random.SystemRandom().getrandbits(32))


def pytest_report_header(config: pytest.Config) -> str:
    """Print what is needed to run the same examples again."""
    seed = config.getoption("hypothesis_seed", None)
    return f"hypothesis profile {PROFILE}, " + (f"--hypothesis-seed={seed}" if seed else "derandomized")


class SharedKafka:
    """The run's broker, seen from one of several test processes."""

    def __init__(self, bootstrap_servers: str, pid: int) -> None:
        """Know where it is."""
        self.bootstrap_servers = bootstrap_servers
        self.pid = pid


class BrokerOfTheRun:
    """With several test processes: one broker for them all, started by the first one that is asked for."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._broker: EmbeddedKafka | None = None
        self._missing = ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a test process of pytest-xdist where the broker is."""
        if self._broker is None and not self._missing:
            broker = EmbeddedKafka()
            try:
                with warnings.catch_warnings():  # outside of a test the filters for it do not hold
                    warnings.simplefilter("ignore", DeprecationWarning)
                    broker.start()
                self._broker = broker
            except MISSING as error:
                self._missing = str(error)
        node.workerinput["no_kafka"] = self._missing
        if self._broker is not None:
            node.workerinput["kafka"] = self._broker.bootstrap_servers, self._broker.pid

    def pytest_unconfigure(self) -> None:
        """Stop it after the last test."""
        if self._broker is not None:
            self._broker.stop()


def without_broker(why: str) -> None:
    """Skip, and where CI=true fail."""
    if IN_CI:
        pytest.fail(f"no embedded Kafka, and CI=true: {why}")
    pytest.skip(f"NO EMBEDDED KAFKA, TESTS WITH A BROKER ARE NOT RUN: {why}")


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[EmbeddedKafka | SharedKafka]:
    """Lend the run's broker. Skips without Java or jars, which fails where CI=true.

    Tests must not stop it, and share it: take topic names and application ids from `unique_name`.
    """
    shared = getattr(request.config, "workerinput", None)
    if shared is not None:
        if "kafka" not in shared:
            without_broker(shared["no_kafka"])
        yield SharedKafka(*shared["kafka"])
        return
    broker = EmbeddedKafka()
    try:
        broker.start()
    except MISSING as error:
        without_broker(str(error))
    yield broker
    broker.stop()


@pytest.fixture
def unique_name() -> str:
    """Return a name that no other test uses: a prefix of topics, an application id, a group."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Lend a browser (Debian's package chromium). Skips without one, which fails where CI=true.

    For a module at most: while Playwright runs, its event loop counts as running in this thread, and `asyncio.run`
    of other tests would be refused.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - slow, and few tests need it

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        missing = "no chromium (apt-get install chromium)"
        if IN_CI:
            pytest.fail(f"{missing}, and CI=true")
        pytest.skip(f"{missing.upper()}: THE PAGE IS NOT TESTED IN A BROWSER")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()
