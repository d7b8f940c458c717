"""Day files: promtool takes them, nothing is lost in them, and what is not whole does not look whole."""

import json
import subprocess

import pytest

from stream.replay import OpenMetricsFiles, ReplayError, Sampler
from stream.replay.samples import Series
from stream.settings import Alerts
from tests.machine import program
from tests.replay.history import START_MS, logs, replay_of
from tests.replay.prometheus import running

STEP_MS = 60_000
DESCRIBED = {"source": "test", "offsets": {}}


def written(directory, history, *, resume=False, until_ms=None):
    """Replay into a directory; up to a moment: as when the process is killed there."""
    replay, sampler = replay_of(history, step_ms=STEP_MS), Sampler("callgauge-replay", "replay", Alerts())
    sink = OpenMetricsFiles(directory, DESCRIBED, resume=resume)
    for moment in replay.moments():
        if until_ms is not None and moment.at_ms > until_ms:
            return sink.abandon()
        sink.write(moment.at_ms, sampler.take(replay.snapshot()))
    return sink.finish()


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def history():
    """Lend calls over a midnight."""
    return logs(7, calls=60, hours=17)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, history):
    """Lend a finished directory."""
    directory = tmp_path_factory.mktemp("whole") / "out"
    written(directory, history)
    return directory


def test_every_sample_is_found_again_in_a_real_prometheus(whole, tmp_path):
    """Series by series, time by time, value by value; through promtool, as the manifest says."""
    manifest = json.loads((whole / "manifest.json").read_text())
    assert [file["file"] for file in manifest["files"]] == [
        "callgauge-2026-03-02.om",
        "callgauge-2026-03-03.om",
    ]
    for command in manifest["import"]:
        name, *arguments = [str(tmp_path / "data") if part == "DATA_DIRECTORY" else part for part in command]
        subprocess.run([program(name), *arguments], cwd=whole, check=True, capture_output=True)
    expected = {}
    for file in manifest["files"]:
        for line in (whole / file["file"]).read_text().splitlines():
            if not line.startswith("#"):
                series, value, at_s = line.rsplit(" ", 2)
                expected[series, float(at_s)] = float(value)
    assert len(expected) == manifest["samples"]

    with running(tmp_path) as prometheus:
        found = prometheus.samples(START_MS + 24 * 3_600_000, 36 * 3_600)
    assert sum(map(len, found.values())) == manifest["samples"]
    back = {
        (text_of(labels), at_s): float(value) for labels, values in found.items() for at_s, value in values
    }
    assert back == expected


def text_of(labels):
    """Write a series as the files do."""
    named = dict(labels)
    name = named.pop("__name__")
    return Series(name, tuple(sorted(named.items()))).text


def test_two_replays_are_byte_identical(whole, tmp_path, history):
    """Every file, the manifest too."""
    written(tmp_path / "again", history)

    assert files(tmp_path / "again") == files(whole)


@pytest.mark.parametrize("hours", [1, 16])
def test_an_interrupted_replay_goes_on_where_the_last_whole_day_ended(whole, tmp_path, history, hours):
    """Killed or interrupted; before the first whole day nothing can go on, and that is said."""
    directory = tmp_path / "out"
    said = written(directory, history, until_ms=START_MS + int(hours * 3_600_000))
    assert not (directory / "manifest.json").exists()
    if hours < 16:  # 08:00 and less than a day
        with pytest.raises(ReplayError, match="has no whole day yet"):
            written(directory, history, resume=True)
        return
    assert said == f"1 whole days are in {directory}"
    written(directory, history, resume=True)

    assert files(directory) == files(whole)


def test_what_is_there_is_never_overwritten(whole, tmp_path, history):
    """Nor does another replay go on in its place."""
    with pytest.raises(ReplayError, match="is not empty"):
        written(whole, history)
    with pytest.raises(ReplayError, match="is complete already"):
        written(whole, history, resume=True)

    directory = tmp_path / "out"
    written(directory, history, until_ms=START_MS + 16 * 3_600_000)
    with pytest.raises(ReplayError, match="was made by another replay"):
        OpenMetricsFiles(directory, {"source": "other"}, resume=True)
    (directory / "callgauge-2026-03-02.om").write_text("# EOF\n")
    with pytest.raises(ReplayError, match="is not what the manifest says"):
        written(directory, history, resume=True)


def test_a_sample_that_promtool_would_drop_is_refused(tmp_path):
    """The same series twice at one moment."""
    sampler = Sampler("job", "instance", Alerts())
    replay = replay_of(logs(1, calls=3), step_ms=STEP_MS)
    moment = next(replay.moments())
    samples = sampler.take(replay.snapshot())
    sink = OpenMetricsFiles(tmp_path, DESCRIBED, resume=False)
    sink.write(moment.at_ms, samples)

    with pytest.raises(ReplayError, match="two samples of"):
        sink.write(moment.at_ms, samples[:1])
    sink.abandon()
    assert not list(tmp_path.iterdir())
