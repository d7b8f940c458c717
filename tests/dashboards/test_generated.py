"""The committed dashboards are what the generator writes."""

import json

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tests.dashboards.boards import DIRECTORY, NAMES, load
from tools.dashboards.files import outputs, stale
from tools.dashboards.parts import dashboard
from tools.dashboards.queries import series


def test_the_committed_dashboards_are_what_the_generator_writes():
    """After a change of tools/dashboards: make generate."""
    assert [path.name for path in stale()] == []


def test_nothing_else_lies_among_the_dashboards():
    """Grafana loads every JSON file of the folder, so one that nobody generates would be shown too."""
    assert {path.name for path in DIRECTORY.glob("*.json")} == {path.name for path in outputs()}


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_knows_every_key(name):
    """Read into the SDK's classes and written again, nothing is lost: no key is misspelt."""
    document = load(name)
    again = json.loads(json.dumps(dashboard.Dashboard.from_json(document), cls=JSONEncoder))

    lost = _lost(document, again)
    # the lowest threshold is null in Grafana's files, and nothing in the SDK's
    assert {path for path in lost if not path.endswith(".value")} == set()


def _lost(before, after, path=""):
    if isinstance(before, dict) and isinstance(after, dict):
        inner = (_lost(value, after.get(key), f"{path}.{key}") for key, value in before.items())
        return {one for found in inner for one in found}
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return {
            one
            for index, pair in enumerate(zip(before, after, strict=True))
            for one in _lost(*pair, f"{path}[{index}]")
        }
    return set() if before == after else {path}


def test_a_query_of_what_is_not_exported_cannot_be_generated():
    """The generator fails, rather than write a panel that is empty for ever."""
    with pytest.raises(ValueError, match="callcenter_agents is not exported"):
        series("callcenter_agents")
