"""How Python's garbage collector is set for the fold, live and in a replay.

What the fold makes is freed by counting references; nothing of it is cyclic. The collector's defaults look through
hundreds of thousands of calls again and again for nothing, which costs a fifth of the throughput.
"""

import gc
from typing import Final

# So many things that the collector follows have to come together before it looks: more than a catch-up has in hand,
# whose fetches alone are 100,000 records. At 200,000 it looked through those again and again, for an eighth of the
# throughput; beyond this nothing more is gained, and what is left to it would only wait longer.
_THRESHOLDS: Final = (1_000_000, 50, 50)


def spare_the_collector() -> None:
    """Look seldom, and never again at what lives as long as the process. To be called once everything is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
