"""What the commands over history share: where it comes from (a file, standard input, a topic), and what they say."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stream.commands.common import UsageError, existing, note, progress, quiet_libraries
from stream.settings import Settings
from stream.settings.spans import parse_span

if TYPE_CHECKING:
    from stream.replay import Feed, Replay

KAFKA: Final = "kafka:"
STDIN: Final = "-"
SOURCE_HELP: Final = (
    "JSON lines (.gz too), - for standard input, or kafka:TOPIC[@FROM..TO]; FROM and TO are offsets, "
    "or times of records with their zone, like 2026-03-01T00:00:00+01:00."
)


@dataclass(slots=True)
class History:
    """A source. ``ranges`` are the offsets of a topic, by partition: those given, or those when it is first opened."""

    source: str
    settings: Settings
    ranges: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int | None:
        """Return how large a file is; None for what is none."""
        is_file = self.source != STDIN and not self.source.startswith(KAFKA)
        return Path(self.source).stat().st_size if is_file else None

    def open(self, stack: ExitStack) -> tuple[Callable[["Replay"], None], "list[Feed]"]:
        """Return what shows how far a replay is, and the feeds. Closed with the stack."""
        from stream.garbage import spare_the_collector  # noqa: PLC0415 - start fast

        opened = self._open_topic(stack) if self.source.startswith(KAFKA) else self._open_lines(stack)
        spare_the_collector()
        return opened

    def _open_lines(self, stack: ExitStack) -> tuple[Callable[["Replay"], None], "list[Feed]"]:
        from stream.replay import RecordFeed, read_lines  # noqa: PLC0415 - start fast

        seen = 0

        def on_bytes(count: int) -> None:
            nonlocal seen
            seen += count

        size = None if self.source.endswith(".gz") else self.size_bytes  # of a packed one nobody knows
        update = stack.enter_context(progress("bytes read", size))
        feed = RecordFeed(read_lines(self.source, on_bytes))
        return lambda replay: update(seen, moment_text(replay.at_ms)), [feed]

    def _open_topic(self, stack: ExitStack) -> tuple[Callable[["Replay"], None], "list[Feed]"]:
        from stream.access import access_of  # noqa: PLC0415 - start fast
        from stream.replay.kafka_feed import KafkaHistory, parse_source  # noqa: PLC0415

        quiet_libraries()
        servers, saved = self.settings.kafka.bootstrap_servers, self.ranges or None
        history = KafkaHistory(servers, access_of(self.settings), parse_source(self.source), saved)
        stack.enter_context(history)
        self.ranges = history.ranges
        update = stack.enter_context(progress("records", history.total))
        return lambda replay: update(replay.read, moment_text(replay.at_ms)), [*history.feeds]


def check_source(source: str) -> None:
    """Refuse a file that is not there. Raises UsageError."""
    if not source.startswith(KAFKA):
        existing(Path(source))


def parse_step(text: str) -> int:
    """Return `--step` in ms. Raises UsageError."""
    from stream.replay import STEP_MS_MAX, STEP_MS_MIN  # noqa: PLC0415 - start fast

    try:
        step_ms = parse_span(text)
    except ValueError as error:
        raise UsageError(f"--step {text!r} {error}") from error
    if not STEP_MS_MIN <= step_ms <= STEP_MS_MAX:
        raise UsageError(f"--step {text} is out of bounds; 1s to {STEP_MS_MAX // 1_000}s")
    return step_ms


def tell_silences(replay: "Replay", what_not: str) -> None:
    """Say which silences were passed over, and what was not done there."""
    for start_ms, end_ms in replay.skipped:
        note(f"no events between {moment_text(start_ms)} and {moment_text(end_ms)}: {what_not}")


def outcome_text(counts: Mapping[str, object]) -> str:
    """Write what became of the records, for people."""
    shown = ", ".join(f"{counts[name]} {name}" for name in ("applied", "duplicate", "late", "rejected"))
    return f"{counts['read']} records: {shown}"


def moment_text(at_ms: int | None) -> str:
    """Write a moment for people; nothing for None."""
    from datetime import UTC, datetime  # noqa: PLC0415 - start fast

    return "" if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M} UTC"
