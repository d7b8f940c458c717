"""Sums over the owned source partitions."""

from collections import Counter
from collections.abc import Iterable, Mapping

from stream.core.snapshot import PipelineView


def add_up(tallies: Iterable[PipelineView]) -> PipelineView:
    """Add the counts of several partitions; the names of one that counted nothing stay, with 0."""
    found = list(tallies)
    return PipelineView(
        known=bool(found),
        events=_sum(tally.events for tally in found),
        rejected=_sum(tally.rejected for tally in found),
        late=sum(tally.late for tally in found),
        duplicate=sum(tally.duplicate for tally in found),
        anomalous=_sum(tally.anomalous for tally in found),
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)
