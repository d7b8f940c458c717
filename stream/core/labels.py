"""Names from events, made fit to be the value of a label.

A label value may hold any UTF-8, but a name from outside may hold what is no UTF-8 (a lone surrogate), what
breaks a line or a parser (NUL and other control characters, line separators), or what turns the text around
it (bidirectional overrides). Those characters become U+FFFD and a name that is too long is cut. Either change
could make one label of two names, so a changed name gets a digest of the whole original as well.
A name that needs no change is its own label, and the label of a label is itself.

Two names can share a label only where their digests collide, or where somebody names a queue like the label
of another. Whoever needs labels that are certainly unique - an exposition with a series twice is refused as a
whole - asks for ``unique_labels``, which numbers the later ones.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from schemas.limits import QUEUE_CHARACTERS_MAX

# Every queue name that is an event's fits; longer ones come from nowhere but a configuration file.
LABEL_CHARACTERS_MAX: Final = QUEUE_CHARACTERS_MAX
DIGEST_BYTES: Final = 4

_UNSAFE: Final = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters
    "\u2028\u2029"  # line and paragraph separator
    "\u202a-\u202e\u2066-\u2069"  # bidirectional embeddings, overrides and isolates
    "\ud800-\udfff"  # lone surrogates: Python holds them, UTF-8 cannot
    "]"
)
_REPLACEMENT: Final = "\ufffd"


def safe_label(text: str) -> str:
    """Return the text as a label value: printable UTF-8, 1 to ``LABEL_CHARACTERS_MAX`` characters."""
    safe = _UNSAFE.sub(_REPLACEMENT, text)
    if safe and safe == text and len(text) <= LABEL_CHARACTERS_MAX:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    return _with_suffix(safe, f"~{digest}")


def unique_labels(texts: Iterable[str]) -> tuple[str, ...]:
    """Return one label for each text, in their order, no two alike."""
    labels: dict[str, None] = {}
    for text in texts:
        wanted = label = safe_label(text)
        number = 1
        while label in labels:
            number += 1
            label = _with_suffix(wanted, f"~{number}")
        labels[label] = None
    return tuple(labels)


def _with_suffix(text: str, suffix: str) -> str:
    return text[: LABEL_CHARACTERS_MAX - len(suffix)] + suffix
