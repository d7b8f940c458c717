"""Closed intervals and days as CSV, and as Parquet for analysis."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO, Final

from stream.replay.errors import ReplayError
from stream.replay.rows import COLUMNS, Rows

_ROWS_AT_ONCE: Final = 50_000  # a row group: small enough for memory, large enough to compress
_TEXTS: Final = ("queue", "window", "start", "end")


def write_csv(rows: Rows, stream: BinaryIO) -> None:
    """Write a header and a line for each row; what has no base is empty."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    text.detach()  # the stream is the caller's to close


def write_parquet(rows: Rows, stream: BinaryIO) -> None:
    """Write the rows with typed columns. Raises ReplayError without pyarrow."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise ReplayError(
            "--to parquet needs pyarrow; install it with: pip install 'callgauge[parquet]'"
        ) from error
    schema = pa.schema([(name, _column_type(pa, name)) for name in COLUMNS])
    found: Iterator[dict[str, Any]] = iter(rows)
    with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        while group := list(islice(found, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _column_type(pa: Any, name: str) -> Any:
    if name in _TEXTS:
        return pa.string()
    is_ratio = name.endswith("_s") or name in ("service_level", "abandonment")
    return pa.float64() if is_ratio else pa.int64()
