"""The checks can fail: break a copy of the code in one place at a time, and see its tests turn red. `make sabotage`.

A test that nothing can turn red says nothing. Each sabotage is one that a tired engineer could commit: a guard that
goes missing, two steps in the other order, a limit that nobody looks at. The list says which tests must notice; each
of them must fail by itself, and pass in the copy that nothing was done to.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
TIMEOUT_S: Final = 900
TESTS_FAILED: Final = 1  # pytest's exit code; any other one says nothing about the tests
SIMULATION: Final = (
    "tests/simulation/test_simulation.py::test_the_board_equals_the_oracle_through_thousands_of_crashes"
)
FOLLOWING: Final = "tests/properties/test_following.py"
# One seed, so that what is caught once is caught always; few crash points, since what is broken shows early.
# The same number of examples as in CI.
ENVIRONMENT: Final = {
    "SIMULATION_SEED": "1",
    "SIMULATION_CRASH_POINTS": "3000",
    "PROPERTY_EXAMPLES": "200",
    "CI": "",
}


@dataclass(frozen=True, slots=True)
class Sabotage:
    """One thing that is broken: ``old`` stands exactly once in ``file`` and becomes ``new``; ``tests`` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


SABOTAGES: Final = (
    Sabotage(
        "stage 1 without an offset guard",
        "stream/core/calls.py",
        "            if offset <= applied_offset:\n",
        "            if offset < 0:\n",
        (SIMULATION, "tests/properties/test_fold.py::test_redelivery_of_applied_offsets_changes_nothing"),
    ),
    Sabotage(
        "stage 2 takes an older word for a newer one",
        "stream/core/board.py",
        "return publication.applied_offset < self.applied_offset\n",
        "return publication.applied_offset < -1\n",
        ("tests/core/test_board.py",),
    ),
    Sabotage(
        "stage 2 adds what it is told instead of replacing",
        "stream/core/tables.py",
        "self._follow(places, part.cells.put(places, values), values)",
        "self._follow(places, 0 * part.cells.put(places, values), values)",
        (SIMULATION, "tests/properties/test_board.py::test_the_board_equals_the_oracle"),
    ),
    Sabotage(
        "stage 2 counts a final cell again",
        "stream/core/tables.py",
        "        first = int(places.searchsorted(beginning(final_before)))\n",
        "        first = 0\n",
        ("tests/core/test_tables.py",),
    ),
    Sabotage(
        "stage 2 holds what is final on its partition",
        "stream/core/tables.py",
        "        cut = part.cells.cut_before(beginning(final_before))\n",
        "        cut = part.cells.between(0, beginning(final_before))\n",
        ("tests/core/test_tables.py",),
    ),
    Sabotage(
        "who follows another worker leaves what that one said beyond the checkpoint",
        "stream/core/tables.py",
        "held = part.cells.between(beginning(update.anew_from), LAST).places",
        "held = places",
        ("tests/core/test_tables.py", "tests/core/test_found.py", "tests/core/test_older.py"),
    ),
    Sabotage(
        "who follows another worker says everything anew only at the end of a backlog",
        "stream/core/calls.py",
        "self._told or (self._follows and not self._was_at_end)",
        "self._told or (self._follows and caught_up and not self._was_at_end)",
        (SIMULATION, FOLLOWING, "tests/core/test_calls.py"),
    ),
    Sabotage(
        "who counts a log again takes itself for the first",
        "stream/engine/calls_agent.py",
        "follows=self._somebody_spoke",
        "follows=False",
        ("tests/engine/test_calls_agent.py",),
    ),
    Sabotage(
        "a queue that only the worker before had opened stays",
        "stream/core/board.py",
        "        if publication.queues or publication.anew_from is not None:\n",
        "        if publication.queues:\n",
        ("tests/core/test_following.py",),
    ),
    Sabotage(
        "an earlier release is believed after a later one",
        "stream/core/board.py",
        "return publication.version < self.version or (another and not follows)",
        "return another and not follows",
        ("tests/core/test_following.py",),
    ),
    Sabotage(
        "at one offset everybody is believed",
        "stream/core/board.py",
        "publication.version < self.version or (another and not follows)",
        "publication.version < self.version",
        ("tests/core/test_following.py",),
    ),
    Sabotage(
        "at one offset everybody is believed who says everything anew",
        "stream/core/board.py",
        "publication.anew_from is not None and publication.since_ms > self.since_ms",
        "publication.anew_from is not None",
        ("tests/core/test_following.py",),
    ),
    Sabotage(
        "who read less than the one before says nothing of it when that one is silent",
        "stream/core/calls.py",
        "self._told or (self._follows and not self._was_at_end)",
        "self._follows and not self._was_at_end",
        ("tests/core/test_following.py",),
    ),
    Sabotage(
        "with a shorter grace cells are let go of that the one before could change",
        "stream/core/calls.py",
        "        return max(0, min(final_before_ms, self.now_ms - self.open_ms()))\n",
        "        return final_before_ms\n",
        ("tests/core/test_following.py",),
    ),
    Sabotage(
        "a checkpoint does not say from where on all cells are in it",
        "stream/core/calls_state.py",
        "            stage.held_from,\n            stage.open_ms(),\n",
        "",
        ("tests/core/test_following.py",),
    ),
    Sabotage(
        "an answer is shown in one of its fields too few",
        "stream/core/facts.py",
        "        pairs += [(field, kind) for field in one.fields]\n",
        "        pairs += [(field, kind) for field in one.fields[:4]]\n",
        (SIMULATION, "tests/core/test_facts.py"),
    ),
    Sabotage(
        "what was taken back is not told to those who may have heard it",
        "stream/core/counted.py",
        "        return places[lasts], values[lasts]\n",
        "        lasts &= values != 0\n        return places[lasts], values[lasts]\n",
        (SIMULATION, "tests/core/test_found.py"),
    ),
    Sabotage(
        "the wall clock in the fold",
        "stream/core/calls.py",
        "                self.now_ms = at_ms\n                if at_ms",
        '                self.now_ms = __import__("time").time_ns() // 1_000_000\n                if at_ms',
        (SIMULATION, "tests/core/test_calls.py"),
    ),
    Sabotage(
        "no grace: whatever is out of order is late",
        "stream/core/calls.py",
        "            elif at_ms < self.now_ms - grace_ms or at_ms < self.late_before_ms:\n",
        "            elif at_ms < self.now_ms:\n",
        (SIMULATION, "tests/core/test_calls.py"),
    ),
    Sabotage(
        "an event from the future moves the clock",
        "stream/core/calls.py",
        "timestamp_ms < at_ms - future_skew_ms and",
        "timestamp_ms < 0 and",
        (SIMULATION, "tests/core/test_calls.py"),
    ),
    Sabotage(
        "no cap on queues",
        "stream/core/calls.py",
        "len(self.book.ledgers) - own < self.rules.queues_max",
        "len(self.book.ledgers) - own >= 0",
        ("tests/core/test_calls.py",),
    ),
    Sabotage(
        "a restored state does not say how far it had read",
        "stream/core/calls_state.py",
        "        stage.applied_offset = self.applied_offset\n",
        "        stage.applied_offset = -1\n",
        (SIMULATION, "tests/core/test_calls_state.py"),
    ),
    Sabotage(
        "no checksum of checkpoints",
        "stream/core/checkpoint.py",
        "    if _checksum(found, version, layout, rest) != checksum:\n",
        "    if _checksum(found, version, layout, rest) < 0:\n",
        ("tests/core/test_checkpoint.py",),
    ),
    Sabotage(
        "no hole check",
        "stream/engine/holes.py",
        "if first_offset <= applied_offset + 1 or applied_offset < 0:",
        "if first_offset >= 0:",
        (SIMULATION, "tests/engine/test_holes.py"),
    ),
    Sabotage(
        "batches from before a rewind are looked at",
        "stream/engine/holes.py",
        "        if epoch < self.epoch:\n",
        "        if epoch < 0:\n",
        ("tests/engine/test_holes.py",),
    ),
    Sabotage(
        "acknowledged before anything is confirmed",
        "stream/engine/shell.py",
        "            self.about_to_save(owned)\n",
        "            self.about_to_save(owned)\n            if event is not None:\n                event.ack()\n",
        (SIMULATION, "tests/engine/test_shell.py"),
    ),
    Sabotage(
        "saved although a publication of it was given up",
        "stream/engine/shell.py",
        "                return\n            applied_offset",
        "                pass\n            applied_offset",
        ("tests/engine/test_shell.py",),
    ),
    Sabotage(
        "saved although a record could not be set aside",
        "stream/engine/owned.py",
        "        if task.cancelled() or task.exception() is not None:\n",
        "        if task.cancelled():\n",
        ("tests/engine/test_shell.py",),
    ),
    Sabotage(
        "minutes are not followed",
        "stream/core/tables.py",
        "        self._by_queue = self._packed = None\n",
        "        self._packed = None\n",
        ("tests/core/test_tables.py",),
    ),
    Sabotage(
        "a minute that has changed is saved as it was",
        "stream/core/tables.py",
        "        self._by_queue = self._packed = None\n",
        "        self._by_queue = None\n",
        ("tests/core/test_tables.py", "tests/core/test_tables_state.py"),
    ),
    Sabotage(
        "saved before the publications are delivered",
        "stream/engine/shell.py",
        "                await self.deliver(owned, records)\n                await all_confirmed(deliveries)\n",
        "                self.later = asyncio.ensure_future(self.deliver(owned, records))\n"
        "                await all_confirmed(deliveries)\n",
        (SIMULATION, "tests/engine/test_shell.py"),
    ),
    Sabotage(
        "a late event that closes nothing keeps a call in mind",
        "stream/core/call.py",
        "            if call.phase == IDLE:\n                return  # what came",
        "            if call.phase == OFFERED:\n                return  # what came",
        ("tests/core/test_call.py",),
    ),
    Sabotage(
        "closed intervals are written past their writer",
        "stream/engine/board_agent.py",
        "        await writer.write(records)\n",
        "        await super().deliver(owned, records)\n",
        (SIMULATION,),
    ),
    Sabotage(
        "every writer has a transactional id of its own",
        "stream/engine/fenced.py",
        "                transactional_id=name,\n",
        '                transactional_id=f"{name}-{asyncio.get_running_loop().time()}",\n',
        ("tests/broker/test_fenced.py",),
    ),
    Sabotage(
        "records set aside are not waited for",
        "stream/engine/owned.py",
        "        self.deliveries.add(task)\n",
        "",
        (SIMULATION, "tests/engine/test_shell.py"),
    ),
    Sabotage(
        "who gives up waiting cancels the delivery for all",
        "stream/engine/owned.py",
        "asyncio.gather(*map(asyncio.shield, deliveries), return_exceptions=True)",
        "asyncio.gather(*deliveries, return_exceptions=True)",
        ("tests/engine/test_owned.py",),
    ),
    Sabotage(
        "states of partitions that were given away are kept",
        "stream/engine/shell.py",
        "        self.owned.clear()\n",
        "",
        ("tests/engine/test_shell.py",),
    ),
    Sabotage(
        "a worker out of contact goes on exporting",
        "stream/engine/membership.py",
        "return not self.lost and self.silent_s(now_s) <= self.session_timeout_s",
        "return not self.lost",
        (SIMULATION, "tests/engine/test_membership.py"),
    ),
    Sabotage(
        "events of any size are decoded",
        "schemas/decode.py",
        "    return len(raw) > EVENT_BYTES_MAX or raw",
        "    return raw",
        ("tests/schemas",),
    ),
    Sabotage(
        "hostile names reach the labels as they are",
        "stream/core/labels.py",
        "safe = _UNSAFE.sub(_REPLACEMENT, text)",
        "safe = text",
        ("tests/core/test_labels.py",),
    ),
    Sabotage(
        "any number of partitions may be configured",
        "stream/settings/limits.py",
        "PARTITIONS_MAX: Final = 1_024",
        "PARTITIONS_MAX: Final = 1_025_000",
        ("tests/test_limits.py",),
    ),
    Sabotage(
        "wall: the name of a queue is markup",
        "stream/export/board.html",
        "  put(tile.name, name);\n",
        "  tile.name.innerHTML = name;\n",
        (
            "tests/export/test_page.py::test_hostile_queue_names_are_shown_as_text",
            "tests/export/test_page.py::test_the_page_is_small_and_makes_no_markup_of_text",
        ),
    ),
    Sabotage(
        "wall: a missed objective is rounded up",
        "stream/export/board.html",
        'say("noCalls") : percent(down(level)));',
        'say("noCalls") : percent(level));',
        (
            "tests/export/test_page.py::test_a_service_level_just_below_its_objective_never_looks_like_reaching_it",
        ),
    ),
    Sabotage(
        "wall: the total is that of the last queue",
        "stream/export/board.py",
        "                added[field] = added.get(field, 0) + value\n",
        "                added[field] = value\n",
        (
            "tests/export/test_page.py::test_every_tile_equals_board_json_and_the_total_is_the_quotient_of_sums",
        ),
    ),
    Sabotage(
        "wall: waits stand still",
        "stream/export/board.html",
        "  const nowMs = clockMs + (dead ? 0 : now - clockAt);",
        "  const nowMs = clockMs;",
        ("tests/export/test_page.py::test_a_wait_runs_on_by_itself",),
    ),
    Sabotage(
        "wall: waits of a dead board run on",
        "stream/export/board.html",
        "  const nowMs = clockMs + (dead ? 0 : now - clockAt);",
        "  const nowMs = clockMs + now - clockAt;",
        ("tests/export/test_page.py::test_a_board_whose_clock_stands_still_is_stale",),
    ),
    Sabotage(
        "wall: a clock that stands still is no news",
        "stream/export/board.html",
        "  if (stoodMs > board.stale_after_s * 1000)",
        "  if (stoodMs > Infinity)",
        ("tests/export/test_page.py::test_a_board_whose_clock_stands_still_is_stale",),
    ),
    Sabotage(
        "wall: a server that is gone is no news",
        "stream/export/board.html",
        "  if (now - boardAt > PATIENCE_MS)",
        "  if (now - boardAt > Infinity)",
        ("tests/export/test_page.py::test_a_server_that_goes_away_is_told_and_its_return_too",),
    ),
    Sabotage(
        "wall: nobody asks when the stream is silent",
        "stream/export/board.html",
        "  if (now - boardAt > SILENCE_MS &&",
        "  if (now - boardAt > Infinity &&",
        ("tests/export/test_page.py::test_news_come_by_the_stream_and_without_it_by_asking",),
    ),
    Sabotage(
        "wall: a style that the policy forbids",
        "stream/export/board.html",
        '<div id="window"></div>',
        '<div id="window" style="color: red"></div>',
        (
            "tests/export/test_page.py::test_a_window_can_be_asked_for",
            "tests/export/test_page.py::test_the_page_is_small_and_makes_no_markup_of_text",
        ),
    ),
    Sabotage(
        "wall: the language that is asked for is not heard",
        "stream/export/board.html",
        '[WISHES.get("lang"), ...READER]',
        "[...READER]",
        ("tests/export/test_page.py::test_the_page_speaks_the_readers_language",),
    ),
    Sabotage(
        "wall: faint letters",
        "stream/export/board.html",
        "--soft: #4f5763;",
        "--soft: #a0a6b0;",
        ("tests/export/test_page.py::test_axe_finds_nothing",),
    ),
    Sabotage(
        "wall: long numbers as large as short ones",
        "stream/export/board.html",
        "calc(var(--fit, 1) * 1em)",
        "1em",
        ("tests/export/test_page.py::test_nothing_sticks_out_or_overlaps",),
    ),
    Sabotage(
        "wall: measured at every look",
        "stream/export/board.html",
        "  if (fitted.key === key) return fitted;\n",
        "",
        ("tests/export/test_page.py::test_a_phone_that_is_scrolled_stays_where_it_is",),
    ),
    Sabotage(
        "wall: a listener may be silent for ever",
        "stream/export/stream.py",
        "asyncio.timeout(TAKEN_WITHIN_S)",
        "asyncio.timeout(None)",
        ("tests/export/test_stream.py::test_a_listener_that_does_not_read_holds_up_nobody_and_is_cut_off",),
    ),
    Sabotage(
        "Faust closes the client beside a stop",
        "stream/engine/batching.py",
        "    def close(self) -> None:\n",
        "    def closed(self) -> None:\n",
        ("tests/broker/test_rebalance.py::test_a_stop_that_meets_a_rebalance_ends_in_order",),
    ),
    Sabotage(
        "a shard publishes intervals before it has caught up",
        "stream/engine/board_agent.py",
        "        if not owned.live:\n",
        "        if False:\n",
        ("tests/engine/test_board_agent.py",),
    ),
    Sabotage(
        "a worker takes itself for its predecessor",
        "stream/engine/batching.py",
        "            self._looked = True\n",
        "            self._looked = self.membership.joined_s is not None\n",
        ("tests/broker/test_rebalance.py::test_the_second_of_two_with_one_instance_id_ends_by_itself",),
    ),
    Sabotage(
        "a leader hands out what it knows of in part",
        "stream/engine/batching.py",
        "        if unknown:\n",
        "        if not unknown:\n",
        ("tests/broker/test_rebalance.py::test_a_leader_without_news_of_the_topics_waits_for_it",),
    ),
    Sabotage(
        "a wait that was taken back stays the longest",
        "stream/core/counted.py",
        "                values[ended] = self.waits.longest(places[ended])\n",
        "                values[ended] = held[ended]\n",
        (SIMULATION, "tests/core/test_counted.py"),
    ),
    Sabotage(
        "queues that begin later are said to the shards of the first ones",
        "stream/core/cells.py",
        "self.numbered[len(self._shards) :]",
        "self.numbered[: len(self.numbered) - len(self._shards)]",
        ("tests/core/test_wire.py",),
    ),
    Sabotage(
        "the longest wait of a window forgets a quarter hour that has begun",
        "stream/core/tables.py",
        "numbers = range(start // self._per_quarter, -(-end // self._per_quarter))",
        "numbers = range(start // self._per_quarter, end // self._per_quarter)",
        ("tests/core/test_tables.py", "tests/core/test_board.py"),
    ),
    Sabotage(
        "a queue that was heard of earlier keeps its place among those beyond the limit",
        "stream/core/tables.py",
        "(heard.queues, heard.first_at_ms) != (known.queues, known.first_at_ms)",
        "heard.queues != known.queues",
        ("tests/core/test_tables.py",),
    ),
    Sabotage(
        "a checkpoint forgets what is written down and not added up",
        "stream/core/calls_state.py",
        "book, counted = stage.book, stage.book.settle()",
        "book, counted = stage.book, stage.book.counted",
        ("tests/core/test_calls_state.py",),
    ),
    Sabotage(
        "cells of an earlier release are read as minutes",
        "stream/core/older.py",
        "many = 1 if old.version <= _CELLS_VERSION else per_minute",
        "many = per_minute",
        ("tests/core/test_older.py",),
    ),
    Sabotage(
        "a backlog is published as often as live events",
        "stream/engine/owned.py",
        "        if behind and now_s < self.quiet_until_s:\n",
        "        if now_s < 0:\n",
        ("tests/engine/test_owned.py",),
    ),
    Sabotage(
        "what changes in a past interval is not noted",
        "stream/core/tables.py",
        "        self.changed_from = min(self.changed_from, int(places[0]) >> BUCKET_SHIFT)\n",
        "",
        ("tests/core/test_tables.py", "tests/export/test_incremental.py"),
    ),
    Sabotage(
        "wall: boards are made when nobody listens",
        "stream/export/stream.py",
        "            while self._listeners:\n",
        "            while True:\n",
        ("tests/export/test_stream.py::test_nobody_asks_for_snapshots_when_nobody_listens",),
    ),
    Sabotage(
        "what a checkpoint without news covers is not acknowledged",
        "stream/engine/shell.py",
        "                self._acknowledge(owned, owned.newest_event)\n                return\n",
        "                return\n",
        ("tests/engine/test_shell.py",),
    ),
    Sabotage(
        "who publishes next does not wait for its turn",
        "stream/engine/in_turn.py",
        "        async with self._turns[topic, partition]:  # asyncio's locks are fair\n",
        "        if True:\n",
        ("tests/broker/test_in_turn.py",),
    ),
)


def apply(sabotage: Sabotage, root: Path) -> None:
    """Break the copy. Raises ValueError when the text does not stand there exactly once."""
    path = root / sabotage.file
    text = path.read_text()
    found = text.count(sabotage.old)
    if found != 1:
        raise ValueError(f"{sabotage.name}: its text stands {found} times in {sabotage.file}, must be once")
    path.write_text(text.replace(sabotage.old, sabotage.new))


@contextlib.contextmanager
def copied() -> Iterator[Path]:
    """Lend a copy of the tree as it is now, what is not committed included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with tempfile.TemporaryDirectory(prefix="callgauge-sabotage-") as folder:
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, Path(folder) / name)
        yield Path(folder)


def outcome(test: str, root: Path) -> int:
    """Run a test in a copy; return pytest's exit code."""
    options = ["-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--hypothesis-seed=1"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, test],
        cwd=root,
        env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode


def missed_by(sabotage: Sabotage) -> list[str]:
    """Return the tests that did not notice a sabotage."""
    with copied() as root:
        apply(sabotage, root)
        return [test for test in sabotage.tests if outcome(test, root) != TESTS_FAILED]


def red_without_sabotage(tests: Sequence[str]) -> list[str]:
    """Return the tests that fail anyway: their red would prove nothing."""
    with copied() as root:
        return [test for test in tests if outcome(test, root) != 0]


def main() -> int:
    """Run the list, or a part of it; 0 when every test noticed what it had to."""
    parser = argparse.ArgumentParser(prog="python -m tools.sabotage", description=__doc__)
    parser.add_argument("words", nargs="*", help="only sabotages whose name has one of these words")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    chosen = [
        one for one in SABOTAGES if not options.words or any(word in one.name for word in options.words)
    ]
    red = red_without_sabotage(sorted({test for one in chosen for test in one.tests}))
    for test in red:
        print(f"red although nothing is broken: {test}")
    caught = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for sabotage, missed in zip(chosen, pool.map(missed_by, chosen), strict=True):
            caught += not missed
            print(f"{'MISSED' if missed else 'caught'}  {sabotage.name}", flush=True)
            for test in missed:
                print(f"        by {test}")
    print(f"caught {caught} of {len(chosen)}")
    return 0 if caught == len(chosen) and not red else 1


if __name__ == "__main__":
    sys.exit(main())
