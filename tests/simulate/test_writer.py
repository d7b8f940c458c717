"""Events in a file."""

import gzip
import io

import pytest

from schemas import decode
from stream.simulate import default_centre, simulate, write_file

SEED = 11


def feed():
    return simulate(default_centre(), seed=SEED, start_ms=36_000_000, calls=400)


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_a_file_holds_one_event_a_line(tmp_path, name):
    """Plain or compressed; the count is that of the lines."""
    path = tmp_path / name
    written = write_file(feed(), path)
    data = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()

    assert [decode(line) for line in data.splitlines()] == [emission.event for emission in feed()]
    assert data.count(b"\n") == written


@pytest.mark.parametrize("name", ["jsonl", "jsonl.gz"])
def test_the_same_seed_gives_the_same_file(tmp_path, name):
    """Byte for byte, whatever the file is called."""
    one, two = tmp_path / f"one.{name}", tmp_path / f"two.{name}"
    write_file(feed(), one)
    write_file(feed(), two)

    assert one.read_bytes() == two.read_bytes()


def test_an_open_stream_is_left_open():
    """Standard output belongs to the caller."""
    stream = io.BytesIO()
    written = write_file(feed(), stream)

    assert not stream.closed
    assert stream.getvalue().count(b"\n") == written


def test_progress_ends_at_the_count():
    """The last figure reported is the number of lines."""
    seen = []
    written = write_file(feed(), io.BytesIO(), seen.append)

    assert seen == sorted(seen)
    assert seen[-1] == written
