"""Which letters somebody means: filters, copies left out, the newest of many, counts by reason."""

import re
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from stream.letters.layout import Coordinate, Kind, Letter, Source
from stream.letters.limits import COPIES_KNOWN_MAX

_COORDINATE: Final = re.compile(r"(dead|late):([0-9]{1,9}):([0-9]{1,18})\Z")


def coordinate(text: str) -> Coordinate:
    """Read `dead:3:41` or `late:0:7`; ValueError for anything else."""
    found = _COORDINATE.match(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no letter; write TOPIC:PARTITION:OFFSET as `dead-letters list` does, like dead:3:41"
        )
    kind, partition, offset = found.groups()
    return Coordinate(Kind(kind), int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What letters must be like; None and empty: any will do."""

    reasons: frozenset[str] = frozenset()
    kinds: tuple[Kind, ...] = tuple(Kind)
    since_ms: int | None = None  # set aside at or after this
    until_ms: int | None = None  # set aside before this
    source_partition: int | None = None

    def has(self, letter: Letter) -> bool:
        """Say whether a letter is wanted."""
        return (
            letter.coordinate.kind in self.kinds
            and (not self.reasons or letter.reason in self.reasons)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
            and (
                self.source_partition is None
                or (letter.source is not None and letter.source.partition == self.source_partition)
            )
        )


class Copies:
    """Knows the letters that are of one and the same record: a crash makes them be set aside twice."""

    def __init__(self, known_max: int = COPIES_KNOWN_MAX) -> None:
        self.count = 0
        self._known: OrderedDict[tuple[Kind, Source], None] = OrderedDict()
        self._known_max = known_max

    def without(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        """Yield each letter whose record has not been seen before; one that names no record is no copy."""
        for letter in letters:
            if letter.source is None:
                yield letter
                continue
            same = letter.coordinate.kind, letter.source
            if same in self._known:
                self.count += 1
                continue
            self._known[same] = None
            if len(self._known) > self._known_max:
                self._known.popitem(last=False)
            yield letter


def newest(letters: Iterable[Letter], count: int) -> list[Letter]:
    """Return the last ones of each partition, then the newest of those, oldest first; without their values."""
    last: dict[tuple[Kind, int], deque[Letter]] = {}
    for letter in letters:
        place = letter.coordinate[:2]
        last.setdefault(place, deque(maxlen=count)).append(replace(letter, key=None, value=None))
    found = sorted(
        (letter for kept in last.values() for letter in kept), key=lambda one: (one.at_ms, one.coordinate)
    )
    return found[-count:]


def by_reason(letters: Iterable[Letter]) -> Counter[tuple[Kind, str]]:
    """Count letters by topic and reason."""
    return Counter((letter.coordinate.kind, letter.reason) for letter in letters)
