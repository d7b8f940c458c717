"""The full run: ``make simulate-faults``. One world of it: ``SIMULATION_SEED=17/4 python -m tests.simulation``."""

import argparse
import os
import sys

from tests.simulation.run import SEED, Disagreement, every_passage, seed_from_environment, simulate


def main() -> int:
    """Run, and tell; 0 when everything was right, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--crash-points", type=int, default=100_000, help="at least so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    seed = seed_from_environment()
    print(f"{SEED}={seed}", flush=True)
    try:
        account = simulate(seed, options.crash_points, options.jobs, lambda line: print(line, flush=True))
        once = sum(1 for _ in every_passage(seed, 1)) if "/" not in seed else 0
    except Disagreement as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(account.lines()))
    print(f"and one quiet world {once} times, with a crash at each of its {once} crash points")
    return 0


if __name__ == "__main__":
    sys.exit(main())
