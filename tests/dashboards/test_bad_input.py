"""Queries stay right when a queue is silent, new or renamed, a worker restarts or overlaps, and scrapes are missed."""

import pytest

from tests.dashboards.promtool import Scenario

WALL, QUEUES, SHIFT = "wall", "queues", "shift"
LEVEL, ROWS, EACH = "Service level", "Queues", "Service level by queue"
# of the table on the wall
STATE, RATIO, WAITING, LONGEST = "A", "B", "E", "F"
OK, BELOW, FAR, NO_CALLS = "A", "B", "C", "D"


@pytest.fixture
def scenario(tmp_path):
    """Make one, checked at the end."""
    made = Scenario(tmp_path)
    yield made
    made.check()


def test_a_queue_without_calls_is_neither_0_nor_100_percent(scenario):
    """It says so, it is in the table, and it does not weigh in the total."""
    scenario.queue("sales", met="79x200", base="100x200", service_level_ratio="0.79x200")
    scenario.queue("night")
    scenario.queue("closed", queue_open="0x200")

    scenario.tile(WALL, LEVEL, {BELOW: 0.79}, 600)
    scenario.expect(WALL, EACH, NO_CALLS, {"night": -1, "closed": -1}, 600)
    scenario.expect(WALL, ROWS, STATE, {"sales": 1, "night": -1, "closed": -2}, 600)
    scenario.expect(WALL, ROWS, RATIO, {"sales": 0.79}, 600)
    scenario.expect(WALL, ROWS, WAITING, {"sales": 0, "night": 0, "closed": 0}, 600)


def test_a_centre_without_calls_says_so_and_a_dead_one_says_nothing(scenario):
    """The text for no calls is a result; no result at all is shown as no data."""
    scenario.queue("sales", met="0x20 stale", base="0x20 stale")

    scenario.tile(WALL, LEVEL, {NO_CALLS: -1}, 60)
    scenario.tile(WALL, LEVEL, {}, 110)


@pytest.mark.parametrize(
    ("met", "state", "shown"),
    [
        (800, OK, 0.8),
        (799, BELOW, 0.799),
        (600, BELOW, 0.6),
        (599, FAR, 0.599),
        (0, FAR, 0.0),
        (1000, OK, 1.0),
    ],
)
def test_states_change_at_the_objective_and_at_three_quarters_of_it(scenario, met, state, shown):
    """One call more or less decides, for the total and for the queue alike."""
    ratio = met / 1000
    scenario.queue("sales", met=f"{met}x200", base="1000x200", service_level_ratio=f"{ratio}x200")

    scenario.tile(WALL, LEVEL, {state: shown}, 600)
    scenario.expect(WALL, EACH, state, {"sales": shown}, 600)
    scenario.expect(WALL, ROWS, STATE, {"sales": "ABC".index(state)}, 600)


def test_what_misses_the_objective_by_a_hair_does_not_read_as_reached(scenario):
    """79.99 % is cut to 79.9 %, never rounded to the objective."""
    scenario.queue("sales", met="7999x200", base="10000x200", service_level_ratio="0.7999x200")

    scenario.tile(WALL, LEVEL, {BELOW: 0.799}, 600)


def test_the_total_is_reached_when_each_queue_just_reaches_its_own(scenario):
    """Sums of shares are not exact in binary; nobody is told off for that."""
    for index in range(7):
        scenario.queue(f"queue {index}", met="7x200", base="10x200", service_level_objective_ratio="0.7x200")
    scenario.queue("strict", met="9x200", base="10x200", service_level_objective_ratio="0.9x200")

    scenario.tile(WALL, LEVEL, {OK: 0.725}, 600)


def test_a_queue_that_appears_in_mid_shift_counts_from_its_first_scrape(scenario):
    """All queues are a pattern, not a list made when the page was opened."""
    scenario.queue("sales", met="50x200", base="100x200")
    scenario.queue("new", met="_x60 100x140", base="_x60 100x140")

    scenario.tile(WALL, LEVEL, {FAR: 0.5}, 100)
    scenario.tile(WALL, LEVEL, {BELOW: 0.75}, 600)


def test_a_renamed_queue_is_counted_under_both_names_while_its_window_lasts(scenario):
    """The old name empties as its window passes; the new one fills; no call is lost or counted twice."""
    scenario.queue("sales", met="100x60 40x140", base="100x60 40x140")
    scenario.queue("sales NL", met="_x60 60x140", base="_x60 60x140")

    scenario.tile(WALL, LEVEL, {OK: 1.0}, 100)
    scenario.tile(WALL, LEVEL, {OK: 1.0}, 600)
    scenario.expect(WALL, ROWS, WAITING, {"sales": 0}, 600, queue="sales")
    scenario.expect(WALL, ROWS, WAITING, {"sales NL": 0}, 600, queue="sales NL")


@pytest.mark.parametrize("queue", ["night (line) .*", "sa+les|vip", 'say "hi"', "back\\slash", "$1"])
def test_hostile_names_select_their_own_queue_and_no_other(scenario, queue):
    """As Grafana escapes them, for a pattern and for an equal sign."""
    scenario.queue(queue, contacts_waiting="3x200")
    scenario.queue("night line", contacts_waiting="5x200")
    scenario.queue("sales", contacts_waiting="7x200")

    scenario.expect(WALL, ROWS, WAITING, {queue: 3}, 600, queue=queue)
    scenario.tile(QUEUES, "Waiting now", {"A": 3}, 600, queue=queue)


def test_a_restarted_worker_leaves_a_hole_and_no_peak(scenario):
    """While it is away there is no number; counters go on where they were, so that no rate jumps."""
    away = "100x20 stale _x9 100x100"
    scenario.queue("sales", met=away, base=away)
    counter = "1000+1x20 stale _x9 1022+1x100"
    scenario.exports("callcenter_contacts_queued_total", counter, queue="sales")

    scenario.tile(WALL, LEVEL, {OK: 1.0}, 100)
    scenario.tile(WALL, LEVEL, {}, 120)
    scenario.tile(WALL, LEVEL, {OK: 1.0}, 200)
    for at_s in (90, 240, 300):  # one contact in 5 s is 12 a minute
        arrivals = {"": 12.0}
        scenario.expect(
            QUEUES, "Arrivals and what became of them, a minute", "B", arrivals, at_s, queue="sales"
        )


def test_a_queue_that_two_workers_export_for_a_moment_is_counted_once(scenario):
    """In a rebalance the old owner may be scraped once more; nothing doubles."""
    for instance in ("a:9660", "b:9660"):
        scenario.exports("callgauge_data_timestamp_seconds", "0+5x200", instance)
        scenario.queue(
            "sales",
            instance=instance,
            met="80x200",
            base="100x200",
            service_level_ratio="0.8x200",
            contacts_waiting="4x200",
            window_answered="80x200",
            window_abandoned="3x200",
        )
        scenario.exports("callcenter_oldest_waiting_timestamp_seconds", "590x200", instance, queue="sales")

    scenario.tile(WALL, LEVEL, {OK: 0.8}, 600)
    scenario.tile(WALL, "Waiting now", {"A": 4}, 600)
    scenario.tile(WALL, "Answered", {"A": 80}, 600)
    scenario.tile(WALL, "Abandoned", {"A": 3}, 600)
    scenario.tile(WALL, "Longest wait now", {"A": 10}, 600)
    scenario.expect(WALL, ROWS, STATE, {"sales": 0}, 600)
    scenario.tile("processor", "Queues exported twice", {"A": 1}, 600)


def test_missed_scrapes_keep_the_last_number_and_its_age_says_so(scenario):
    """When Prometheus itself was away there is no mark of staleness: the number stays, its age grows."""
    scenario.queue("sales", met="90x20 _x200", base="100x20 _x200")
    scenario.exports("callgauge_data_timestamp_seconds", "0+5x20 _x200")

    scenario.tile(WALL, LEVEL, {OK: 0.9}, 140)
    scenario.tile(WALL, "Age of the figures", {"A": 0}, 100)
    scenario.tile(WALL, "Age of the figures", {"A": 29}, 129)
    scenario.tile(WALL, "Age of the figures", {"B": 30}, 130)
    scenario.tile(WALL, "Age of the figures", {"B": 119}, 219)
    scenario.tile(WALL, "Age of the figures", {"C": 120}, 220)
    scenario.tile(WALL, "Age of the figures", {}, 600)


def test_the_age_is_that_of_the_worker_that_is_furthest_behind(scenario):
    """A board is as old as its oldest part; a clock a little ahead is no age."""
    scenario.exports("callgauge_data_timestamp_seconds", "3+5x200", "a:9660")
    scenario.exports("callgauge_data_timestamp_seconds", "300x200", "b:9660")

    scenario.tile(WALL, "Age of the figures", {"A": 0}, 200)
    scenario.tile(WALL, "Age of the figures", {"C": 200}, 500)


def test_the_longest_wait_goes_by_the_worker_s_clock_and_has_four_states(scenario):
    """In time, past target, past the limit of its own queue, and nobody."""
    scenario.exports("callgauge_data_timestamp_seconds", "0+5x200")
    waiting = "0x9 1x110"
    scenario.queue("sales", contacts_waiting="0x9 1x90 0x90", contacts_waiting_past_target="0x14 1x85 0x90")
    scenario.exports("callcenter_oldest_waiting_timestamp_seconds", "_x10 50x89 stale", queue="sales")
    scenario.queue("patient", contacts_waiting=waiting, wait_limit_seconds="900x200")
    scenario.exports("callcenter_oldest_waiting_timestamp_seconds", "_x10 50x110", queue="patient")

    scenario.tile(WALL, "Longest wait now", {"D": -1}, 40)
    scenario.tile(WALL, "Longest wait now", {"A": 10}, 60)
    scenario.tile(WALL, "Longest wait now", {"B": 50}, 100)
    scenario.tile(WALL, "Longest wait now", {"B": 300}, 350)
    scenario.tile(WALL, "Longest wait now", {"C": 305}, 355)
    # sales is empty again; the other queue may wait 900 s
    scenario.tile(WALL, "Longest wait now", {"A": 460}, 510)
    scenario.expect(WALL, ROWS, LONGEST, {"sales": 10, "patient": 10}, 60)


def test_abandonment_is_judged_by_queue_and_shown_as_a_sum(scenario):
    """At its limit a queue is within it; one queue above is enough."""
    scenario.queue("sales", window_abandoned="5x200", abandonment_ratio="0.05x200")
    scenario.queue("vip", window_abandoned="1x60 2x140", abandonment_ratio="0.04x60 0.06x140")

    scenario.tile(WALL, "Abandoned", {"A": 6}, 100)
    scenario.tile(WALL, "Abandoned", {"B": 7}, 600)
    scenario.expect(QUEUES, "Abandonment", "A", {"sales": 0.05}, 600, queue="sales")
    scenario.expect(QUEUES, "Abandonment", "B", {}, 600, queue="sales")
    scenario.expect(QUEUES, "Abandonment", "A", {}, 600, queue="vip")
    scenario.expect(QUEUES, "Abandonment", "B", {"vip": 0.06}, 600, queue="vip")


def test_an_interval_is_its_last_figure_also_when_a_scrape_shows_the_next_one(scenario):
    """Scraped at the very end, the gauge may be at 0 again; the point at the end is the interval that ended."""
    interval = {"queue": "sales", "window": "interval"}
    # 361 scrapes make half an hour; the one at 1800 s shows the next interval already
    scenario.exports("callcenter_window_queued", "0+1x359 0+1x100", **interval)
    scenario.exports("callcenter_window_service_level_met", "0+1x359 0+0x100", **interval)
    scenario.exports("callcenter_window_service_level_base", "0+2x359 0+0x100", **interval)

    scenario.expect(SHIFT, "Entered, each interval", "A", {"": 359}, 1800)
    scenario.expect(SHIFT, "Service level of each interval", "A", {"": 0.5}, 1800)


def test_an_interval_survives_missed_scrapes_at_its_end_but_not_of_many_minutes(scenario):
    """Up to five minutes the last figure stands in; after that there is none, rather than a part."""
    interval = {"queue": "sales", "window": "interval"}
    scenario.exports("callcenter_window_queued", "0+1x310 _x200", **interval)
    scenario.exports("callcenter_window_queued", "0+1x290 _x200", **(interval | {"queue": "vip"}))

    scenario.expect(SHIFT, "Entered, each interval", "A", {"": 310}, 1800)


def test_last_week_is_the_same_instant_seven_days_before(tmp_path):
    """Today and a week before, side by side, of days and of intervals."""
    week_s = 7 * 24 * 3600
    scenario = Scenario(tmp_path)
    steps = week_s // 5
    for window in ("interval", "day"):
        labels = {"queue": "sales", "window": window}
        scenario.exports("callcenter_window_queued", f"7x10 _x{steps - 11} 9x10", **labels)

    scenario.expect(SHIFT, "Entered, each interval", "A", {"": 9}, week_s + 30)
    scenario.expect(SHIFT, "Entered, each interval", "B", {"": 7}, week_s + 30)
    scenario.expect(SHIFT, "Entered", "A", {"": 9}, week_s + 30)
    scenario.expect(SHIFT, "Entered", "B", {"": 7}, week_s + 30)
    scenario.check()
