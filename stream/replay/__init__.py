"""History through the same pure stages, without Kafka and without Faust."""

from stream.replay.errors import ReplayError
from stream.replay.fold import Summary, replay
from stream.replay.json_sink import write_json
from stream.replay.lines import read_lines

__all__ = ["ReplayError", "Summary", "read_lines", "replay", "write_json"]
