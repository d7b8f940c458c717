"""What can go wrong with history."""


class ReplayError(Exception):
    """A source that cannot be read; the message is one line that names the file, the line and what to do."""
