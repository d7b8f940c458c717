"""Write grafana/dashboards; with `--check` write nothing, and exit 1 when a file is stale."""

import argparse
import sys

from tools.dashboards.files import ROOT, outputs, stale


def main(arguments: list[str] | None = None) -> int:
    """Write the stale files, or only name them."""
    parser = argparse.ArgumentParser(prog="python -m tools.dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    check: bool = parser.parse_args(arguments).check
    texts, old = outputs(), stale()
    for path in old:
        print(f"{'stale' if check else 'wrote'} {path.relative_to(ROOT)}")
        if not check:
            path.write_text(texts[path], encoding="utf-8")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
