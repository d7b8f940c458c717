"""Remote write: everything arrives in a real Prometheus, refusals are named, and what fails is tried again."""

import cramjam
import pytest

from stream.replay import RemoteWrite, ReplayError, Sampler, posting
from stream.replay.remote_write import RETRIES_MAX, Answer, encode_labels
from stream.settings import Alerts
from tests.replay.history import START_MS, logs, replay_of
from tests.replay.prometheus import running

STEP_MS = 60_000
HOUR_MS = 3_600_000


def nobody_waits(_pause_s):
    """Pass over the pauses."""


def sent(sink, history, *, until_ms=None):
    """Replay into a sink, up to a moment; return all samples that were taken."""
    replay, sampler = replay_of(history, step_ms=STEP_MS), Sampler("job", "instance", Alerts())
    taken = {}
    for moment in replay.moments():
        if until_ms is not None and moment.at_ms > until_ms:
            return taken
        samples = sampler.take(replay.snapshot())
        sink.write(moment.at_ms, samples)
        for series, value in samples:
            labels = tuple(sorted((("__name__", series.name), *series.labels)))
            taken.setdefault(labels, []).append((moment.at_ms / 1_000, float(value)))
    sink.finish()
    return taken


def found_in(prometheus):
    """Return what a Prometheus has, as `sent` returns it."""
    found = prometheus.samples(START_MS + 12 * HOUR_MS, 24 * 3_600)
    return {labels: [(at_s, float(value)) for at_s, value in values] for labels, values in found.items()}


def test_every_sample_is_found_again_in_a_real_prometheus(tmp_path):
    """Also after a replay that was interrupted and goes on; nothing twice, nothing missing."""
    history = logs(11, calls=80)
    with running(tmp_path) as prometheus, posting(prometheus.write_url) as post:
        first = RemoteWrite(post, nobody_waits, prometheus.write_url)
        sent(first, history, until_ms=START_MS + HOUR_MS)
        first.flush()
        assert first.complete_ms == START_MS + HOUR_MS
        steps = []
        second = RemoteWrite(
            post,
            nobody_waits,
            prometheus.write_url,
            after_ms=first.complete_ms,
            on_complete=steps.append,
        )
        taken = sent(second, history)

        assert found_in(prometheus) == taken
        assert steps[-1] == second.complete_ms > first.complete_ms


def test_a_series_that_ends_is_gone_at_once(tmp_path):
    """As after a scrape that does not have it: a ratio without a base is absent, not the last one for five minutes."""
    with running(tmp_path) as prometheus, posting(prometheus.write_url) as post:
        sink = RemoteWrite(post, nobody_waits, prometheus.write_url)
        series = Sampler("job", "instance", Alerts()).take(replay_snapshot())[:2]
        sink.write(START_MS, series)
        sink.write(START_MS + STEP_MS, series[:1])
        sink.finish()
        shown = [
            {
                one["metric"]["__name__"]
                for one in prometheus.get("query", query='{job="job"}', time=at_s)["result"]
            }
            for at_s in (START_MS / 1_000, START_MS / 1_000 + 60)
        ]

    assert [len(names) for names in shown] == [2, 1]


def replay_snapshot():
    replay = replay_of(logs(1, calls=3), step_ms=STEP_MS)
    next(replay.moments())
    return replay.snapshot()


def test_what_prometheus_refuses_is_named_with_its_series(tmp_path):
    """A sample older than what it has: out of bounds, and no retry would help."""
    series = Sampler("job", "instance", Alerts()).take(replay_snapshot())[:3]
    with running(tmp_path) as prometheus, posting(prometheus.write_url) as post:
        newer = RemoteWrite(post, nobody_waits, prometheus.write_url)
        newer.write(START_MS, series)
        newer.finish()
        older = RemoteWrite(post, nobody_waits, prometheus.write_url)
        older.write(START_MS - 24 * HOUR_MS, series)
        with pytest.raises(
            ReplayError, match=r"refused \w+\{.*job=\"job\".*\} with status 400: out of bounds"
        ):
            older.finish()
        assert older.complete_ms == -1


def test_one_refused_series_among_many_is_found():
    """By halves, though the receiver names none."""
    series = Sampler("job", "instance", Alerts()).take(replay_snapshot())[:50]
    bad = series[37][0]

    def post(body):
        raw = bytes(cramjam.snappy.decompress_raw(body))
        return (
            Answer(400, "no") if bad.name.encode() in raw and encode_labels(bad) in raw else Answer(204, "")
        )

    sink = RemoteWrite(post, nobody_waits, "http://receiver")
    sink.write(START_MS, series)
    with pytest.raises(ReplayError) as failed:
        sink.finish()
    assert f"refused {bad.text} with status 400: no" in str(failed.value)


def test_a_receiver_that_is_away_is_asked_again_and_again_and_then_given_up():
    """With longer and longer pauses; then the line says how to go on."""
    pauses, answers = (
        [],
        [OSError(111, "Connection refused"), Answer(503, "busy"), Answer(429, "slow"), Answer(204, "")],
    )

    def post(_body):
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    series = Sampler("job", "instance", Alerts()).take(replay_snapshot())[:1]
    sink = RemoteWrite(post, pauses.append, "http://receiver")
    sink.write(START_MS, series)
    sink.finish()
    assert (sink.complete_ms, pauses) == (START_MS, [0.5, 1.0, 2.0])

    answers[:] = [Answer(500, "out of disk")] * RETRIES_MAX
    sink.write(START_MS + STEP_MS, series)
    with pytest.raises(ReplayError, match=r"in 8 attempts \(status 500: out of disk\).*--resume"):
        sink.finish()
    assert sink.complete_ms == START_MS


@pytest.mark.parametrize("url", ["", "localhost:9090", "ftp://a/b", "http://"])
def test_what_is_no_url_is_said(url):
    """Before anything is replayed."""
    with pytest.raises(ReplayError, match="is no URL"), posting(url):
        pass
