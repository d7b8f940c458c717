"""History through the same pure stages, without Faust and without the live group."""

from stream.replay.compare import compare
from stream.replay.drive import STEP_MS_MAX, STEP_MS_MIN, Moment, Replay
from stream.replay.errors import ReplayError
from stream.replay.feeds import Feed, RecordFeed
from stream.replay.lines import read_lines
from stream.replay.openmetrics import OpenMetricsFiles, saved_replay
from stream.replay.remote_write import RemoteWrite, posting
from stream.replay.rows import Rows
from stream.replay.samples import Sampler, Samples, Series
from stream.replay.state import load_state, resumable, save_state
from stream.replay.summary import summary
from stream.replay.tables import write_csv, write_parquet

__all__ = [
    "STEP_MS_MAX",
    "STEP_MS_MIN",
    "Feed",
    "Moment",
    "OpenMetricsFiles",
    "RecordFeed",
    "RemoteWrite",
    "Replay",
    "ReplayError",
    "Rows",
    "Sampler",
    "Samples",
    "Series",
    "compare",
    "load_state",
    "posting",
    "read_lines",
    "resumable",
    "save_state",
    "saved_replay",
    "summary",
    "write_csv",
    "write_parquet",
]
