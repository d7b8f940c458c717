"""`python -m bench`: everything in one run, on an embedded Kafka.

What is compared runs in turns, round after round, and ratios are taken within a round, because machines are
noisy. To add a competitor: a file with a `run(setting, topic) -> Throughput`, a row in `VARIANTS`, and its
comparisons in `bench.report`.
"""

import argparse
import dataclasses
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import (
    ablation,
    bare,
    breakdown,
    faust_per_event,
    full_job,
    latency,
    outage,
    pages,
    replay,
    restart,
    saving,
    scrape,
)
from bench.child import ROOT, BenchError
from bench.figures import Throughput, percentile
from bench.full_job import Disturbed, FullJob
from bench.machine import load_average, machine
from bench.report import (
    BARE,
    FAUST,
    FULL_10,
    FULL_1000,
    NOTHING_10,
    REPLAY,
    SAVED_10,
    SCRAPED_10,
    SCRAPED_1000,
    SPARSE_10,
    WATCHED_10,
    Bound,
    Number,
    Results,
    disturbed_turns,
    undisturbed,
)
from bench.setting import FULL, QUICK, Setting, Shape, Topic
from bench.worker import Worker
from stream.engine.engine_settings import EngineSettings
from stream.engine.owned import BACKLOG_PUBLISH_INTERVAL_S
from stream.kafka import EmbeddedKafka, EmbeddedKafkaError

RESULTS = ROOT / "bench" / "results"
QUESTIONS = {
    "a": "bare aiokafka loop",
    "b": "Faust one event at a time",
    "c": "full job, 10 queues",
    "d": "full job, 1,000 queues, and 10 with as few events a queue",
    "e": "latency to /metrics",
    "f": "scrape times, and what scraping costs a catch-up",
    "g": "restart and memory with 100,000 open calls",
    "h": "what 200 open wall pages cost a catch-up",
    "r": "replay of the topic",
    "k": "what checkpoints cost",
    "o": "back at the end of the log after the broker stood still",
    "p": "where the worker's time goes, and what it costs to count nothing (not part of the default)",
}
# Several answers of every kind with 10 queues; and progress is known every three seconds, so a shorter turn would have
# a good part of its neighbours in it.
SHORT_TURN_S = 4 * BACKLOG_PUBLISH_INTERVAL_S
SAVING_TURN_S = EngineSettings().checkpoint_interval_s  # one checkpoint of each partition
# With 1,000 queues: a text takes a fifth of a second at least, and holds for longer than a turn (METRICS_REST_BEHIND);
# each turn with scrapers has one.
LONG_TURN_S = 30.0
DEFAULT = "a,b,c,d,e,f,g,h,k,o,r"


Run = Callable[[Setting, Topic], Throughput | FullJob]


@dataclass(frozen=True, slots=True)
class Variant:
    """Something that reads a filled topic as fast as it can. `needed_by`: the questions it belongs to."""

    name: str
    needed_by: str
    shape: Shape
    run: Run
    rounds_max: int | None = None


DENSE, MANY, SPARSE = Shape(10), Shape(1_000), Shape(10, rate=10.0)
LONG_DENSE, LONG_MANY = Shape(10, times=5), Shape(1_000, times=5)  # for turns within a run


def _in_turns(disturb: Callable[[Setting, Worker], AbstractContextManager[None]], turn_s: float) -> Run:
    def run(setting: Setting, topic: Topic) -> FullJob:
        return full_job.run(setting, topic, disturbed=Disturbed(partial(disturb, setting), turn_s))

    return run


def _saving_in_turns(setting: Setting, topic: Topic) -> FullJob:
    by = Disturbed(saving.saving, SAVING_TURN_S, saves=False)
    return full_job.run(setting, topic, module="bench.saving", disturbed=by)


VARIANTS = (
    Variant(BARE, "ap", DENSE, bare.run),
    Variant(FULL_10, "cdrp", DENSE, full_job.run),
    Variant(NOTHING_10, "p", DENSE, ablation.run),
    Variant(REPLAY, "r", DENSE, replay.run, rounds_max=3),
    Variant(SPARSE_10, "d", SPARSE, full_job.run),
    Variant(FULL_1000, "d", MANY, full_job.run),
    Variant(FAUST, "b", DENSE, faust_per_event.run, rounds_max=2),
    # A run has some pairs of turns, which is too few to tell: each round has its own.
    Variant(SAVED_10, "k", LONG_DENSE, _saving_in_turns, rounds_max=3),
    Variant(SCRAPED_10, "f", LONG_DENSE, _in_turns(full_job.scraping, SHORT_TURN_S), rounds_max=2),
    Variant(SCRAPED_1000, "f", LONG_MANY, _in_turns(full_job.scraping, LONG_TURN_S), rounds_max=2),
    Variant(WATCHED_10, "h", LONG_DENSE, _in_turns(pages.open_pages, SHORT_TURN_S), rounds_max=4),
)


def main() -> int:
    """Measure, print, write."""
    options = _options()
    letters = {letter.strip() for letter in options.only.split(",")}
    if unknown := letters - set(QUESTIONS):
        sys.stderr.write(f"bench: no such question: {', '.join(sorted(unknown))}\n")
        return 2
    sizes = QUICK if options.quick else FULL
    if options.events:
        sizes = dataclasses.replace(sizes, events=options.events)
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    results = Results(machine(), command, dataclasses.asdict(sizes))
    # Kept when a process fails, since what it said is in there.
    folder = Path(tempfile.mkdtemp(prefix="callgauge-bench-"))
    try:
        with EmbeddedKafka() as broker:
            setting = Setting(broker.bootstrap_servers, folder, sizes, broker.pid or 0)
            results.load_average.append(load_average())
            _measure(setting, letters, results)
            results.load_average.append(load_average())
    except (BenchError, EmbeddedKafkaError) as error:
        sys.stderr.write(f"bench: {error} (see {folder})\n")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print(results.as_markdown())
    _write(results, options.out or (RESULTS / "quick" if options.quick else RESULTS))
    return 0


def _options() -> argparse.Namespace:
    lines = [f"  {letter}  {text}" for letter, text in QUESTIONS.items()]
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure callgauge on an embedded Kafka.",
        epilog="\n".join(["questions:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: to try it out")
    parser.add_argument("--only", default=DEFAULT, metavar="A,B", help=f"questions (default {DEFAULT})")
    parser.add_argument("--events", type=int, metavar="N", help="events in each topic")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go (default bench/results)")
    return parser.parse_args()


def _measure(setting: Setting, letters: set[str], results: Results) -> None:
    variants = [variant for variant in VARIANTS if letters & set(variant.needed_by)]
    shapes = sorted({variant.shape for variant in variants} | ({DENSE, MANY} if "p" in letters else set()))
    if shapes:
        _say(f"filling topics of {setting.sizes.events:,} events")
        setting.prefill(shapes)
    jobs: dict[str, list[FullJob]] = {}
    for number in range(setting.sizes.rounds):
        for variant in variants:
            if variant.rounds_max is not None and number >= variant.rounds_max:
                continue
            run = variant.run(setting, setting.topic(variant.shape))
            if isinstance(run, FullJob):
                jobs.setdefault(variant.name, []).append(run)
                for quiet, disturbed in run.turns:
                    results.add(undisturbed(variant.name), quiet)
                    results.add(disturbed_turns(variant.name), disturbed)
                run = run.throughput
            results.add(variant.name, run)
            _say(f"round {number + 1}, {variant.name}: {run.rate / 1_000:.1f} k/s, {run.cpu_us:.2f} us CPU")
    results.numbers += _numbers_of_jobs(jobs)
    for letter, measure in SINGLE.items():
        if letter in letters:
            results.numbers += measure(setting)


def _numbers_of_jobs(jobs: dict[str, list[FullJob]]) -> list[Number]:
    numbers = []
    for name, runs in jobs.items():
        middle = sorted(runs, key=lambda run: run.throughput.cpu_us)[len(runs) // 2]
        threads = " ".join(f"{cpu_us:.2f}" for cpu_us in middle.threads if cpu_us >= 0.01)
        numbers += [
            Number(f"{name}: CPU by thread", middle.throughput.cpu_us, "us", detail=threads),
            Number(f"{name}: CPU of an event, last third / first", middle.late_by_early, ""),
            Number(f"{name}: memory at the end", middle.rss_bytes / 1e6, "MB"),
        ]
    return numbers


def _number_of_pages(ages_s: list[float]) -> Number:
    what = f"live at 1,000 events/s, {pages.PAGES} pages: snapshot to page, p99"
    detail = f"{len(ages_s)} messages, largest {max(ages_s):.2f} s"
    return Number(what, percentile(ages_s, 0.99), "s", Bound(at_most=1), detail)


def _numbers_of_latency(found: latency.Latency) -> list[Number]:
    if found.lost:
        raise BenchError(f"{found.lost} of {found.lost + len(found.seconds)} markers were never seen")
    detail = f"{len(found.seconds)} markers, largest {max(found.seconds):.2f} s"
    return [
        Number("event to /metrics, p50", percentile(found.seconds, 0.50), "s", Bound(at_most=0.5), detail),
        Number("event to /metrics, p99", percentile(found.seconds, 0.99), "s", Bound(at_most=1.5)),
    ]


def _numbers_of_scrapes(queues: int, limit_s: float, found: scrape.Scrapes) -> list[Number]:
    detail = f"{len(found.seconds)} scrapes, {found.answer_bytes / 1_000:.0f} kB compressed"
    return [
        Number(
            f"scrape, {queues:,} queues, p50",
            percentile(found.seconds, 0.50) * 1_000,
            "ms",
            Bound(at_most=limit_s * 1_000),
            detail,
        ),
        Number(f"scrape, {queues:,} queues, p99", percentile(found.seconds, 0.99) * 1_000, "ms"),
        Number(f"live at 1,000 events/s, {queues:,} queues: memory", found.rss_bytes / 1e6, "MB"),
    ]


def _numbers_of_restart(calls: int, found: restart.Restart, few: restart.Restart) -> list[Number]:
    what = f"{calls:,} open calls"
    return [
        Number(f"kill -9 to ready, {what}", found.ready_s, "s"),
        Number(f"kill -9 to first new event on /metrics, {what}", found.counted_s, "s"),
        Number(
            f"... of which Python's start and Faust's join, as with {restart.FEW} open calls",
            few.counted_s,
            "s",
        ),
        Number("... and what comes on top", found.counted_s - few.counted_s, "s", Bound(at_most=5)),
        Number(
            f"memory, {what}, {restart.QUEUES} queues",
            found.rss_bytes / 1e6,
            "MB",
            Bound(at_most=300),
            f"{found.rss_restored_bytes / 1e6:.0f} MB after the restart",
        ),
    ]


def _numbers_of_outage(found: outage.Outage) -> list[Number]:
    what = f"broker frozen for {outage.FROZEN_S:.0f} s at 1,000 events/s"
    return [
        Number(f"{what}: ready again", found.ready_s, "s"),
        Number(f"{what}: lag 0", found.current_s, "s", Bound(at_most=10)),
    ]


# Questions that are asked once, and of nothing but their own workers.
SINGLE: dict[str, Callable[[Setting], list[Number]]] = {
    "e": lambda setting: _numbers_of_latency(latency.run(setting)),
    "f": lambda setting: [
        *_numbers_of_scrapes(50, 0.05, scrape.run(setting, 50)),
        *_numbers_of_scrapes(1_000, 1.0, scrape.run(setting, 1_000)),
    ],
    "g": lambda setting: _numbers_of_restart(
        setting.sizes.open_calls,
        restart.run(setting, setting.sizes.open_calls),
        restart.run(setting, restart.FEW),
    ),
    "h": lambda setting: [_number_of_pages(pages.run(setting))],
    "o": lambda setting: _numbers_of_outage(outage.run(setting)),
    "p": lambda setting: [
        *breakdown.run(setting, setting.topic(DENSE), "10 queues"),
        *breakdown.run(setting, setting.topic(MANY), "1,000 queues"),
    ],
}


def _write(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{results.machine['date'][:16].replace(':', '')}-{results.machine['commit'].split()[0]}"
    (folder / f"{name}.json").write_text(json.dumps(results.as_json(), indent=2) + "\n")
    (folder / f"{name}.md").write_text(results.as_markdown())
    _say(f"written: {folder / name}.json and .md")


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
