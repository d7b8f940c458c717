"""Sending to Kafka, with the broker and the clock replaced; the broker suite has the real ones."""

import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError

from schemas import Offered, encode
from stream.simulate import Emission, ProduceError, Progress, producer
from stream.simulate.producer import produce

START_MS = 1_000_000


class Batch:
    """Room for ten records."""

    def __init__(self):
        self.records = []

    def append(self, *, timestamp, key, value):
        """Take a record while there is room."""
        if len(self.records) == 10:
            return None
        self.records.append((timestamp, key, value))
        return self


class Stage:
    """A wall clock that only sleeping moves, and a broker that notes what it gets and when."""

    def __init__(self, *, fail_at=None):
        self.wall_ms = float(START_MS)
        self.records = []
        self.unanswered = 0
        self.fail_at = fail_at
        self.stopping = asyncio.Event()
        self.stop_at_ms = None
        self.options = {}
        self.is_connected = False

    def client(self, **options):
        """Stand in for the constructor of the Kafka client."""
        self.options = options
        return self

    async def start(self):
        """Connect."""
        self.is_connected = True

    async def stop(self):
        """Disconnect."""
        self.is_connected = False

    def now_ms(self):
        """Read the wall clock."""
        return int(self.wall_ms)

    async def sleep(self, wait_s):
        """Let time pass."""
        self.wall_ms += wait_s * 1000
        if self.stop_at_ms is not None and self.wall_ms >= self.stop_at_ms:
            self.stopping.set()
        await asyncio.sleep(0)

    async def partitions_for(self, _topic):
        """Have three partitions."""
        return {0, 1, 2}

    def create_batch(self):
        """Return a batch for ten records."""
        return Batch()

    async def send_batch(self, batch, topic, *, partition):
        """Take a batch; the answer comes in the next turn of the loop."""
        assert partition in (0, 1, 2)
        for timestamp, key, value in batch.records:
            self.records.append((self.now_ms(), topic, key, value, timestamp))
        self.unanswered += 1
        answer = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._answer, answer, len(self.records))
        return answer

    def _answer(self, answer, number):
        self.unanswered -= 1
        if self.fail_at is not None and number >= self.fail_at:
            answer.set_exception(KafkaTimeoutError("no leader"))
        else:
            answer.set_result(None)


def emission(at_ms, delay_ms=0):
    return Emission(at_ms + delay_ms, Offered(call_id=f"call-{at_ms}", at=at_ms, queue="q"))


def run(monkeypatch, stage, emissions, speed, on_progress=None):
    monkeypatch.setattr(producer, "AIOKafkaProducer", stage.client)
    return asyncio.run(
        produce(
            emissions,
            "broker:9092",
            "call-events",
            speed=speed,
            now_ms=stage.now_ms,
            sleep=stage.sleep,
            stop=stage.stopping,
            on_progress=on_progress,
            client_options={"linger_ms": 0, "client_id": "test"},
        )
    )


def test_a_record_has_the_call_as_key_and_the_time_of_sending_as_timestamp(monkeypatch):
    """The time of sending is the simulated one, which disorder moves away from the event's."""
    stage = Stage()
    sent = run(monkeypatch, stage, [emission(START_MS - 100, delay_ms=40)], 1.0)
    expected = (
        START_MS,
        "call-events",
        b"call-999900",
        encode(Offered(call_id="call-999900", at=START_MS - 100, queue="q")),
        START_MS - 60,
    )

    assert stage.records == [expected]
    assert sent == 1


def test_the_past_goes_out_at_once_and_then_time_goes_on(monkeypatch):
    """Two hours of past at the start, then each event at its own time."""
    stage = Stage()
    at = [START_MS - 7_200_000, START_MS - 1, START_MS + 500, START_MS + 3_000]
    run(monkeypatch, stage, map(emission, at), 1.0)

    assert [wall for wall, *_ in stage.records] == [START_MS, START_MS, START_MS + 500, START_MS + 3_000]


def test_speed_counts_from_the_present(monkeypatch):
    """At speed 10 an event of the next second is sent after a tenth of it."""
    stage = Stage()
    run(monkeypatch, stage, map(emission, [START_MS - 50_000, START_MS + 1_000, START_MS + 60_000]), 10.0)

    assert [wall for wall, *_ in stage.records] == [START_MS, START_MS + 100, START_MS + 6_000]


def test_without_a_speed_everything_goes_out_at_once(monkeypatch):
    """No sleep moves the clock."""
    stage = Stage()
    run(monkeypatch, stage, map(emission, range(START_MS, START_MS + 1_000_000, 1_000)), None)

    assert {wall for wall, *_ in stage.records} == {START_MS}


def test_an_order_to_stop_ends_the_wait(monkeypatch):
    """Soon after the order, with everything sent acknowledged, nothing more is sent."""
    stage = Stage()
    stage.stop_at_ms = START_MS + 1_000
    sent = run(monkeypatch, stage, map(emission, [START_MS - 5, START_MS + 3_600_000]), 1.0)

    assert sent == 1
    assert stage.unanswered == 0
    assert START_MS + 1_000 <= stage.wall_ms < START_MS + 1_300


def test_progress_turns_live_when_the_past_is_acknowledged(monkeypatch):
    """The first live report has all of the past; the last one has everything."""
    stage, seen = Stage(), []

    def on_progress(progress):
        assert stage.unanswered == 0
        seen.append(progress)

    past = [emission(START_MS - 12_000 + number) for number in range(12_000)]
    run(monkeypatch, stage, [*past, emission(START_MS + 700)], 1.0, on_progress)
    live = [progress for progress in seen if progress.live]

    assert seen[0].live is False
    assert live[0].sent == 12_000
    assert seen[-1] == Progress(12_001, START_MS + 700, live=True)


def test_a_slow_feed_reports_progress_too(monkeypatch):
    """One event every two seconds, and a report for each."""
    stage, seen = Stage(), []
    run(monkeypatch, stage, [emission(START_MS + step * 2_000) for step in range(1, 6)], 1.0, seen.append)

    assert {progress.sent for progress in seen} >= {1, 2, 3, 4, 5}


def test_an_event_that_kafka_refuses_fails_the_run(monkeypatch):
    """Nothing is dropped in silence, and the connection is closed."""
    stage = Stage(fail_at=2)
    with pytest.raises(ProduceError, match=r"^Kafka at broker:9092: .*no leader"):
        run(monkeypatch, stage, map(emission, range(START_MS, START_MS + 3)), None)

    assert not stage.is_connected


def test_options_of_the_client_come_from_the_caller(monkeypatch):
    """They win over ours; what is not given stays safe: every replica acknowledges, nothing doubles."""
    stage = Stage()
    run(monkeypatch, stage, [], None)
    expected = {
        "bootstrap_servers": "broker:9092",
        "client_id": "test",
        "linger_ms": 0,
        "acks": "all",
        "enable_idempotence": True,
    }

    assert expected.items() <= stage.options.items()


def test_a_broker_that_is_not_there_is_one_line():
    """What, where; the connection is closed again."""

    async def nowhere():
        await produce([emission(1)], "127.0.0.1:1", "call-events", speed=None, now_ms=lambda: 0)

    with pytest.raises(ProduceError, match=r"^Kafka at 127\.0\.0\.1:1: .+") as caught:
        asyncio.run(nowhere())

    assert "\n" not in str(caught.value)
