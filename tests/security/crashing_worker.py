"""`callgauge worker` with a bug: a record with the word `crash` in it makes the fold raise with all of the record."""

import sys
from typing import Any

from stream.cli import main
from stream.core.calls import CallsStage

_fold: Any = CallsStage.fold


def fold(stage: CallsStage, records: Any) -> Any:
    """Fold, or fail as a bug would that puts what it holds into its exception."""
    for record in records:
        if b"crash" in (record.value or b""):
            raise KeyError(record.key, record.value)
    return _fold(stage, records)


if __name__ == "__main__":
    CallsStage.fold = fold  # type: ignore[method-assign]
    sys.exit(main(sys.argv[1:]))
