"""What others see: /metrics, /board.json, the wall-board page and the probes, all made from one snapshot."""

from stream.export.http import BindError, PortTakenError, RemoteBindError, Served, serve
from stream.export.source import Source

__all__ = ["BindError", "PortTakenError", "RemoteBindError", "Served", "Source", "serve"]
