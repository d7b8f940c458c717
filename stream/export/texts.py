"""The texts of /metrics, as they are sent: made seldom enough that nobody who asks can slow the processing down.

A text is made for whoever asks first, and all who ask while it holds get the same. It holds as long as nothing else is
said by the probes: a worker that loses its partitions takes them out of its metrics at once.
"""

import asyncio
import gzip
from collections.abc import Callable
from functools import partial
from typing import Final

from stream.core.snapshot import Status
from stream.export.collector import registry_of
from stream.export.metrics import Build, Scrape, scrape
from stream.export.render import Renderer
from stream.export.source import Source
from stream.export.steps import in_steps
from stream.settings import Alerts

# Texts hold for this many times what making them took, which is a twentieth of a core at most: half a second with 50
# queues, some seconds with 1,000. A worker that keeps up has most of its core to spare.
METRICS_REST: Final = 19
# A hundred-and-sixtieth: what a backlog loses to scrapers should stay below 5 %; what was looked at costs half as much
# again as the look, when the next records come; and whoever asks now and then finds an old text each time.
METRICS_REST_BEHIND: Final = 159
# The interval in prometheus.yml: who asks as seldom never gets the same text twice.
METRICS_AGE_MAX_S: Final = 15.0
# A text of 1,000 queues takes a quarter of a second while a backlog is read, because all of it has changed since the
# last one; and nobody needs the past sooner. The first text after the backlog comes by the limits above.
METRICS_AGE_BEHIND_MAX_S: Final = 120.0
GZIP_AT_ONCE_BYTES: Final = 1_000_000  # a few milliseconds: less than the way to a thread and back
GZIP_LEVEL: Final = 1  # repeated names shrink tenfold at any level, and this one costs a third of the default

_OPENMETRICS: Final = "application/openmetrics-text"
_SAME_IN_EVERY_SCHEME: Final = ("escaping=underscores", "escaping=allow-utf-8")
Encoder = Callable[..., bytes]  # of prometheus_client, for the schemes that the renderer does not know


class MetricsTexts:
    """Texts by format and compression, as of one moment."""

    def __init__(
        self, source: Source, build: Build, monotonic_s: Callable[[], float], alerts: Alerts
    ) -> None:
        self._source = source
        self._build = build
        self._monotonic_s = monotonic_s
        self._alerts = alerts
        self._renderer = Renderer()
        self._taken: Scrape | None = None
        self._status: Status | None = None  # as of then
        self._made_s = float("-inf")
        self._spent_s = 0.0  # on the texts of that moment
        self._texts: dict[tuple[str, bool], bytes] = {}

    async def get(self, encoder: Encoder, content_type: str, *, zipped: bool) -> bytes:
        """Return a text. To be called by one at a time."""
        taken = self._taken
        if taken is None or not self._holds():
            taken = await self._take()
        key = (content_type, zipped)
        if key not in self._texts:
            began_s = self._monotonic_s()
            body = await self._make(taken, encoder, content_type)
            self._texts[key] = await compressed(body) if zipped else body
            self._spent_s += self._monotonic_s() - began_s
        return self._texts[key]

    def _holds(self) -> bool:
        status = self._source.status()
        age_max_s, rest = METRICS_AGE_MAX_S, METRICS_REST
        if status.behind:
            age_max_s, rest = METRICS_AGE_BEHIND_MAX_S, METRICS_REST_BEHIND
        return (
            self._monotonic_s() < self._made_s + min(age_max_s, rest * self._spent_s)
            and status == self._status
        )

    async def _take(self) -> Scrape:
        """Look at the source, and measure what that takes without what goes on between its steps."""
        self._taken = None
        self._texts.clear()
        began_s = self._monotonic_s()
        rested_s = await in_steps(self._source.approach(), self._monotonic_s)
        self._status = self._source.status()
        taken = scrape(self._source.snapshot, self._build, self._monotonic_s, self._alerts)
        rested_s += await in_steps(self._renderer.prepare(taken), self._monotonic_s)
        self._made_s = self._monotonic_s()
        self._spent_s = self._made_s - began_s - rested_s
        self._taken = taken
        return taken

    async def _make(self, taken: Scrape, encoder: Encoder, content_type: str) -> bytes:
        if "escaping=" in content_type and not content_type.endswith(_SAME_IN_EVERY_SCHEME):
            return await asyncio.to_thread(encoder, registry_of(lambda: taken))
        return self._renderer.text(taken, openmetrics=content_type.startswith(_OPENMETRICS))


async def compressed(body: bytes) -> bytes:
    """Return it as gzip: a small one at once, a large one by a thread."""
    compress = partial(gzip.compress, body, GZIP_LEVEL, mtime=0)
    return compress() if len(body) <= GZIP_AT_ONCE_BYTES else await asyncio.to_thread(compress)
