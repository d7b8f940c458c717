"""What scrapers get is made seldom, and never outlives what it says of the worker."""

import asyncio
import gzip
from dataclasses import replace

import pytest
from prometheus_client.exposition import choose_encoder

from stream.core.snapshot import WELL
from stream.export import texts as module
from stream.export.metrics import DEFAULT_ALERTS, Build
from stream.export.texts import (
    GZIP_AT_ONCE_BYTES,
    METRICS_AGE_BEHIND_MAX_S,
    METRICS_AGE_MAX_S,
    METRICS_REST,
    METRICS_REST_BEHIND,
    MetricsTexts,
    compressed,
)
from tests.export.centre import queue, snapshot

TOOK_S, REST_S = 0.5, 7.0
TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"


class Clocked:
    """A source that takes half a second to look at, by its own clock."""

    def __init__(self):
        self.now_s = 100.0
        self.took_s = TOOK_S
        self.looks = self.steps = 0
        self.told = WELL

    def monotonic_s(self):
        """Return its own time."""
        return self.now_s

    def snapshot(self):
        """Take its time."""
        self.looks += 1
        self.now_s += self.took_s
        return snapshot(queue("sales"), over_limit=self.looks)

    def approach(self):
        """Work in two steps, between which others do something."""
        for _ in range(self.steps):
            self.now_s += self.took_s
            asyncio.get_running_loop().call_soon(self.meanwhile)
            yield

    def meanwhile(self):
        """Take the loop's time for something else."""
        self.now_s += REST_S

    def status(self):
        """Return what was told."""
        return self.told


@pytest.fixture
def source():
    return Clocked()


@pytest.fixture
def ask(source):
    """Return what asks for a text."""
    texts = MetricsTexts(source, Build("1", "3"), source.monotonic_s, DEFAULT_ALERTS)
    encoder, _ = choose_encoder("")
    return lambda accept=TEXT, *, zipped=False: asyncio.run(texts.get(encoder, accept, zipped=zipped))


def test_all_who_ask_get_the_same_until_it_has_rested(source, ask):
    """Nineteen times what it took, to the moment."""
    first = ask()
    source.now_s += METRICS_REST * TOOK_S - 0.01

    assert ask() is first
    assert source.looks == 1

    source.now_s += 0.02
    assert ask() != first
    assert source.looks == 2


def test_what_the_texts_took_counts_too(source, ask, monkeypatch):
    """Looking is the smaller part with many queues."""
    monkeypatch.setattr(module, "METRICS_AGE_MAX_S", 1_000.0)

    async def slowly(body):
        source.now_s += TOOK_S
        return body

    monkeypatch.setattr(module, "compressed", slowly)
    ask(zipped=True)
    source.now_s += METRICS_REST * 2 * TOOK_S - TOOK_S - 0.01  # it rests from the look on
    ask(zipped=True)
    assert source.looks == 1

    source.now_s += 0.02
    ask()
    assert source.looks == 2


def test_what_happens_between_the_steps_of_a_look_is_no_work_of_it(source, ask, monkeypatch):
    """Two steps and the snapshot: it rests for what these three took, and not for what went on meanwhile."""
    monkeypatch.setattr(module, "METRICS_AGE_MAX_S", 1_000.0)
    source.steps = 2
    ask()
    source.now_s += METRICS_REST * 3 * TOOK_S - 0.01
    ask()
    assert source.looks == 1

    source.now_s += 0.02
    ask()
    assert source.looks == 2


@pytest.mark.parametrize(("behind", "rest"), [(False, METRICS_REST), (True, METRICS_REST_BEHIND)])
def test_a_worker_with_a_backlog_is_looked_at_less_often(source, ask, monkeypatch, behind, rest):
    """As it stands when somebody asks."""
    monkeypatch.setattr(module, "METRICS_AGE_MAX_S", 1_000.0)
    ask()
    source.told = replace(WELL, behind=behind)
    source.now_s += rest * TOOK_S - 0.01
    ask()
    assert source.looks == 1

    source.now_s += 0.02
    ask()
    assert source.looks == 2


@pytest.mark.parametrize(
    ("behind", "age_max_s"), [(False, METRICS_AGE_MAX_S), (True, METRICS_AGE_BEHIND_MAX_S)]
)
def test_no_text_gets_older_than_the_interval_of_a_scraper(source, ask, behind, age_max_s):
    """However long it took; while a backlog is read, a minute."""
    source.took_s = age_max_s
    source.told = replace(WELL, behind=behind)
    ask()
    source.now_s += age_max_s - 0.01
    ask()
    assert source.looks == 1

    source.now_s += 0.02
    ask()
    assert source.looks == 2


def test_the_first_text_after_a_backlog_comes_at_once(source, ask):
    """Not a minute later: from then on the values are of now."""
    source.took_s = METRICS_AGE_MAX_S
    source.told = replace(WELL, behind=True)
    ask()
    source.now_s += METRICS_AGE_MAX_S + 0.01
    ask()
    assert source.looks == 1

    source.told = WELL
    ask()
    assert source.looks == 2


def test_every_format_is_of_the_same_moment(source, ask):
    """However it is asked for."""
    plain, openmetrics = ask(), ask(OPENMETRICS)

    assert gzip.decompress(ask(zipped=True)) == plain
    assert gzip.decompress(ask(OPENMETRICS, zipped=True)) == openmetrics
    assert openmetrics.endswith(b"# EOF\n")
    assert source.looks == 1


@pytest.mark.parametrize("change", [{"ready": False, "not_ready_reason": "recovering"}, {"healthy": False}])
def test_a_text_does_not_outlive_what_it_says_of_the_worker(source, ask, change):
    """A worker that loses its partitions shows none of them a moment later."""
    ask()
    source.told = replace(WELL, **change)
    ask()

    assert source.looks == 2


def test_a_look_that_fails_leaves_nothing_to_go_on_with(source, ask, monkeypatch):
    """The next one who asks has it made anew."""
    ask()
    source.told = replace(WELL, healthy=False)
    with monkeypatch.context() as broken:
        broken.setattr(source, "snapshot", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask()
    ask()

    assert source.looks == 2


@pytest.mark.parametrize("size", [0, GZIP_AT_ONCE_BYTES, GZIP_AT_ONCE_BYTES + 1])
def test_what_is_compressed_is_the_same_by_a_thread_and_at_once(size):
    """Nothing but the way differs."""
    body = b"a" * size

    assert gzip.decompress(asyncio.run(compressed(body))) == body
