"""What the demo says while it runs: a live table on a terminal, plain lines in a pipe."""

import sys
from typing import Any, Final, TextIO

from rich.console import Console
from rich.live import Live

from stream.clock import monotonic_s
from stream.demo.table import as_line, as_lines, as_table

LINE_EVERY_S: Final = 10.0


class Show:
    """Everything that is printed goes through here."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._console = Console(file=self._stream, highlight=False)
        self._live: Live | None = None
        self._status: Any = None
        self._caption = ""
        self._line_at_s = float("-inf")

    @property
    def terminal(self) -> bool:
        """Say whether a person watches."""
        return self._console.is_terminal

    def step(self, text: str) -> None:
        """Say what is going on now; on a terminal only, and gone with the next step."""
        self._end_live()
        if self.terminal:
            if self._status is None:
                self._status = self._console.status(text)
                self._status.start()
            else:
                self._status.update(text)

    def note(self, text: str) -> None:
        """Say something that stays."""
        self._print(text)

    def address(self, host: str, port: int) -> None:
        """Say where the page and the metrics are."""
        url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        self._caption = f"{url} and {url}metrics; Ctrl-C ends"
        self._print(f"wall board {url}")
        self._print(f"metrics    {url}metrics")

    def first_numbers(self, took: str) -> None:
        """Say that the wall is full."""
        self._end_status()
        self._print(f"first numbers after {took}")

    def board(self, board: Any) -> None:
        """Show the board: the table on a terminal, now and then a line in a pipe."""
        if self.terminal:
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False)
                self._live.start()
            self._live.update(as_table(board, self._caption), refresh=True)
        elif monotonic_s() - self._line_at_s >= LINE_EVERY_S:
            self._line_at_s = monotonic_s()
            self._print(as_line(board))

    def last(self, board: Any) -> None:
        """Leave the last board behind."""
        if self.terminal:
            self.board(board)
            self._end_live()
        else:
            for line in as_lines(board):
                self._print(line)

    def close(self) -> None:
        """Give the terminal back."""
        self._end_live()
        self._end_status()

    def _end_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _end_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _print(self, text: str) -> None:
        if self.terminal:
            self._console.print(text, markup=False, soft_wrap=True)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()
