"""Queries of the dashboards put to Prometheus' own engine, over series that a test makes up."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.dashboards.boards import as_grafana, filled, panel
from tests.machine import program

STEP_S = 5  # between two scrapes


class Scenario:
    """Series as Prometheus scraped them, and what queries of dashboards have to return for them.

    A series is written as promtool reads it: ``8x20`` is 21 equal samples, ``0+5x20`` grows, ``_x20`` are twenty
    scrapes that did not happen, ``stale`` is what Prometheus notes when a target fails.
    """

    def __init__(self, folder: Path) -> None:
        """Write into ``folder``."""
        self._folder = folder
        self._series: list[dict[str, str]] = []
        self._tests: list[dict[str, Any]] = []
        self.exports("callgauge_alert_critical_share_ratio", "0.75x200")
        self.exports("callgauge_alert_stale_limit_seconds", "120x200")

    def exports(self, name: str, values: str, instance: str = "a:9660", **labels: str) -> None:
        """Add a series of a worker."""
        every = {"job": "callgauge", "instance": instance, **labels}
        self._series.append({"series": name + _labels(every), "values": values})

    def queue(
        self, queue: str, *, instance: str = "a:9660", met: str = "0x200", base: str = "0x200", **more: str
    ) -> None:
        """Add what the wall reads of one queue; ``more`` are whole metrics without callcenter_."""
        fixed = {
            "service_level_objective_ratio": "0.8x200",
            "service_level_target_seconds": "20x200",
            "wait_limit_seconds": "300x200",
            "abandonment_limit_ratio": "0.05x200",
            "queue_open": "1x200",
            "contacts_waiting": "0x200",
            "contacts_waiting_past_target": "0x200",
        }
        windowed = {"window_service_level_met": met, "window_service_level_base": base}
        for name, values in (fixed | windowed | more).items():
            of_window = name in windowed or name.startswith(
                ("window_", "service_level_ratio", "abandonment_ratio")
            )
            labels = {"queue": queue, **({"window": "30m"} if of_window else {})}
            self.exports(f"callcenter_{name}", values, instance, **labels)

    def expect(
        self,
        board: str,
        title: str,
        ref: str,
        results: Mapping[str, float],
        at_s: int,
        *,
        label: str = "queue",
        queue: str | None = None,
    ) -> None:
        """Say what a query returns: value by ``label``, or the only one under "" where no label is left."""
        (query,) = [one for one in panel(board, title)["targets"] if one["refId"] == ref]
        chosen = ".+" if queue is None else as_grafana(queue, many=board != "queues")
        values = {"queue": chosen, "window": "30m", "interval": "30m", "__rate_interval": "30s"}
        samples = [
            {"labels": _labels({label: name} if name else {}), "value": value}
            for name, value in results.items()
        ]
        expr = filled(query["expr"], values)
        self._tests.append({"expr": expr, "eval_time": f"{at_s}s", "exp_samples": samples})

    def tile(
        self, board: str, title: str, shown: Mapping[str, float], at_s: int, queue: str | None = None
    ) -> None:
        """Say which of a tile's queries has a result, and that the others have none."""
        for query in panel(board, title)["targets"]:
            state = query["refId"]
            results = {"": shown[state]} if state in shown else {}
            self.expect(board, title, state, results, at_s, queue=queue)

    def check(self) -> None:
        """Put all of it to promtool."""
        group = {"interval": f"{STEP_S}s", "input_series": self._series, "promql_expr_test": self._tests}
        path = self._folder / "test.yml"
        # JSON is YAML
        path.write_text(json.dumps({"rule_files": [], "evaluation_interval": f"{STEP_S}s", "tests": [group]}))
        done = subprocess.run(
            [program("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False
        )

        assert done.returncode == 0, done.stdout + done.stderr


def _labels(labels: Mapping[str, str]) -> str:
    text = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())
    return f"{{{text}}}"
