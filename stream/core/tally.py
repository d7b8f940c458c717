"""What became of the records of several source partitions, added up."""

from collections import Counter
from collections.abc import Iterable, Mapping

from stream.core.snapshot import PipelineView


def add_up(tallies: Iterable[PipelineView]) -> PipelineView:
    """Add the counts of several partitions; the names of one that counted nothing stay, with 0."""
    found = list(tallies)
    last_events = [tally.last_event_at_ms for tally in found if tally.last_event_at_ms is not None]
    return PipelineView(
        known=bool(found),
        events=_sum(tally.events for tally in found),
        rejected=_sum(tally.rejected for tally in found),
        late=sum(tally.late for tally in found),
        duplicate=sum(tally.duplicate for tally in found),
        anomalous=_sum(tally.anomalous for tally in found),
        last_event_at_ms=max(last_events, default=None),
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)
