"""The demo's table: what a wall board shows, for a terminal and for a pipe."""

from datetime import datetime
from typing import Any, Final, NamedTuple

from rich.table import Table
from rich.text import Text

Json = dict[str, Any]
_COLUMNS: Final = ("queue", "service level", "waiting", "longest wait", "abandoned", "answered", "talking")
_PREFERRED_WINDOW: Final = "30m"
_NAME_CHARACTERS: Final = 18


class Row(NamedTuple):
    """One line of the table, as text, and whether its service level and abandonment hold."""

    cells: tuple[str, ...]
    level_good: bool | None
    abandonment_good: bool | None


def window_of(board: Json) -> str | None:
    """Return the label of the window to show: half an hour, or the first there is."""
    windows = board["total"]["windows"]
    return _PREFERRED_WINDOW if _PREFERRED_WINDOW in windows else next(iter(windows), None)


def rows(board: Json) -> list[Row]:
    """Return a row a queue, and the total."""
    window = window_of(board)
    return [_row(queue, window, board["clock"]) for queue in (*board["queues"], board["total"])]


def _row(queue: Json, window: str | None, clock: str | None) -> Row:
    now, sums = queue["now"], queue["windows"].get(window, {})
    level, abandonment = sums.get("service_level"), sums.get("abandonment")
    objective, limit = queue.get("objective"), queue.get("abandonment_limit")
    name = queue.get("queue", "all queues")
    cells = (
        name if len(name) <= _NAME_CHARACTERS else name[: _NAME_CHARACTERS - 1] + "…",
        _percent(level),
        str(now["waiting"]),
        _span(_age_s(now["oldest_waiting_at"], clock)),
        _percent(abandonment),
        str(sums.get("answered", 0)),
        str(now["in_progress"]),
    )
    return Row(
        cells,
        None if level is None or objective is None else level >= objective,
        None if abandonment is None or limit is None else abandonment <= limit,
    )


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _age_s(since: str | None, clock: str | None) -> float | None:
    if since is None or clock is None:
        return None
    return max(0.0, (datetime.fromisoformat(clock) - datetime.fromisoformat(since)).total_seconds())


def headings(board: Json) -> tuple[str, ...]:
    """Return the columns' names; ratios and counts are those of the window."""
    window = window_of(board)
    return tuple(
        f"{name} {window}" if window and name in {"service level", "abandoned", "answered"} else name
        for name in _COLUMNS
    )


def as_table(board: Json, caption: str) -> Table:
    """Return the table for a terminal."""
    table = Table(title=f"callgauge demo, {board['clock'] or 'not counting yet'}", caption=caption)
    for index, name in enumerate(headings(board)):
        table.add_column(name, justify="right" if index else "left")
    lines = rows(board)
    for index, row in enumerate(lines):
        cells = [Text(cell) for cell in row.cells]
        for column, good in ((1, row.level_good), (4, row.abandonment_good)):
            if good is not None:
                cells[column].stylize("green" if good else "bold red")
        table.add_row(*cells, end_section=index == len(lines) - 2)
    return table


def as_lines(board: Json) -> list[str]:
    """Return the table for a pipe."""
    lines = [headings(board), *(row.cells for row in rows(board))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def as_line(board: Json) -> str:
    """Return one line for a pipe: the total, and the service level of each queue."""
    window, total = window_of(board), board["total"]
    queues = ", ".join(
        f"{queue['queue']} {_percent(queue['windows'].get(window, {}).get('service_level'))}"
        for queue in board["queues"]
    )
    now = total["now"]
    return f"{board['clock']} waiting {now['waiting']}, talking {now['in_progress']}; {window} {queues}"
