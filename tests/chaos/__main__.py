"""The full run: ``make chaos``. Its figures go into docs/reliability.md with ``--report``."""

import argparse
import json
import random
import sys
import tempfile
import warnings
from pathlib import Path

from tests.chaos import naive, report
from tests.chaos.faults import FULL, LONGEST_S, SMALL, SMALL_LONGEST_S
from tests.chaos.run import Account, run

SPEED = 90.0  # simulated time, in times of life: a quarter of an hour in ten seconds
SAVED, NAIVE_SAVED = "account.json", "naive.json"


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument(
        "--minutes", type=float, default=15, help="at least so long, and every fault at least once"
    )
    parser.add_argument("--small", action="store_true", help="the few faults of `make check`")
    parser.add_argument("--folder", type=Path, help="where to keep data and logs; it must not exist")
    parser.add_argument("--naive", action="store_true", help="only measure the ordinary Faust table")
    parser.add_argument(
        "--report", type=Path, nargs="+", help="only write what runs left there into docs/reliability.md"
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Run, and tell; 0 when everything was right, 1 when not."""
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own
    options = options_of()
    if options.report:
        accounts = [Account(**json.loads((folder / SAVED).read_text())) for folder in options.report]
        counted = (folder / NAIVE_SAVED for folder in options.report)
        report.write(accounts, json.loads(next(found for found in counted if found.exists()).read_text()))
        return 0
    print(f"seed {options.seed}", flush=True)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="callgauge-chaos-"))
    folder.mkdir(exist_ok=True)
    print(
        f"in {folder}; `python -m tests.chaos --report {folder}` writes its figures to the page", flush=True
    )
    failures = [] if options.naive else _run(folder, options).failures
    if not options.small and not (folder / NAIVE_SAVED).exists():
        counted = naive.measure(folder / "naive", options.seed)
        (folder / NAIVE_SAVED).write_text(json.dumps(counted, indent=1))
        print("\n".join(report.naive_table(counted)))
    return 1 if failures else 0


def _run(folder: Path, options: argparse.Namespace) -> Account:
    done = run(
        folder,
        options.seed,
        SMALL if options.small else FULL,
        minutes=0 if options.small else options.minutes,
        speed=SPEED,
        longest_s=SMALL_LONGEST_S if options.small else LONGEST_S,
        say=lambda line: print(line, flush=True),
    )
    account = done.account
    account.save(folder / SAVED)
    print("\n".join(report.table(account)))
    for line in [*account.failures, *account.ended]:
        print(line, file=sys.stderr)
    return account


if __name__ == "__main__":
    sys.exit(main())
