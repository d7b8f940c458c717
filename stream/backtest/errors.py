"""What can go wrong, each as one line for people."""


class BacktestError(Exception):
    """The back-test failed: what, where, and what to do."""


class InputError(Exception):
    """A file of rules or incidents cannot be used: which one, where in it, and why."""
