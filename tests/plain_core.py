"""`pytest -p tests.plain_core`: the core as Python, whose branches can be measured, also where it was compiled."""

from stream import compiled

compiled.avoid()
