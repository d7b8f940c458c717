"""The models say what the contract says."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas import events

COMMON = {"type", "call_id", "at", "event_id", "channel", "schema_version"}
FURTHER = {
    "offered": {"queue"},
    "queued": {"queue"},
    "answered": {"queue", "agent"},
    "abandoned": {"queue"},
    "left": {"queue", "reason"},
    "blocked": {"queue", "reason"},
    "hold": set(),
    "resumed": set(),
    "ended": {"reason"},
    "wrap_up": {"duration_ms", "agent"},
}
REQUIRED = {"queued": {"queue"}, "left": {"reason"}, "blocked": {"reason"}, "wrap_up": {"duration_ms"}}


def test_the_types_stand_in_the_order_of_a_contacts_life():
    """The index of a type is its kind, so the order is part of the interface."""
    assert tuple(FURTHER) == events.EVENT_TYPES


@pytest.mark.parametrize("model", events.MODELS)
def test_a_type_has_the_fields_of_the_contract(model):
    """No model has a field more or less than the contract, nor requires another."""
    name = events.type_of(model)
    required = {field for field, info in model.model_fields.items() if info.is_required()}

    assert set(model.model_fields) == COMMON | FURTHER[name]
    assert required == {"type", "call_id", "at"} | REQUIRED.get(name, set())


@pytest.mark.parametrize("model", events.MODELS)
def test_every_type_and_field_is_explained(model):
    """The models are the glossary: each has a docstring, each field but `type` a description."""
    assert model.__doc__
    assert all(info.description for field, info in model.model_fields.items() if field != "type")


def test_the_closed_sets_of_reasons_are_those_of_the_contract():
    """A reason is a metric label, so a new one is a change of the contract."""
    assert events.LEFT_REASONS == ("overflow", "timeout", "key", "empty", "callback", "other")
    assert events.BLOCKED_REASONS == ("busy", "full", "closed", "no_agents", "other")


def test_a_model_is_frozen_and_strict_and_ignores_extra_fields():
    """The reference decides with the models, so their settings are the contract's rules."""
    event = events.HoldModel.model_validate({"type": "hold", "call_id": "c", "at": 1, "x": 2})

    assert not hasattr(event, "x")
    with pytest.raises(ValidationError):
        event.at = 2
    with pytest.raises(ValidationError):
        events.HoldModel.model_validate({"type": "hold", "call_id": "c", "at": 1.0})


def test_null_in_an_optional_field_means_that_it_is_absent():
    """Producers that write every field write null for what they do not know."""
    bare = {"type": "answered", "call_id": "c", "at": 1}
    nulls = dict.fromkeys(("event_id", "channel", "schema_version", "queue", "agent"))

    assert events.AnsweredModel.model_validate(bare | nulls) == events.AnsweredModel.model_validate(bare)


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01 00:00:00Z", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1970-01-01T01:30:00+01:30", 0),
        ("1969-12-31T22:30:00-01:30", 0),
        ("1970-01-01T00:00:00.1Z", 100),
        ("1970-01-01T00:00:00.12Z", 120),
        ("1970-01-01T00:00:00.1239Z", 123),
        ("1970-01-01T00:00:00.999999999Z", 999),
        ("2024-02-29T12:34:56.789+02:00", 1_709_202_896_789),
        ("2000-02-29T23:59:59+23:59", 951_782_459_000),
    ],
)
def test_an_instant_becomes_milliseconds_and_is_cut_never_rounded(text, at_ms):
    """Every form that is accepted means one number."""
    assert events.instant_ms(text) == at_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00Z",
        "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:60Z",
        "2016-12-31T23:59:60Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+01:60",
        "1970-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+01",
        "1970-01-01T00:00:00 Z",
        "1970-01-01T00:00:00\u221201:00",
        "1970-01-01  00:00:00Z",
        "1970-01-01_00:00:00Z",
        " 1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z\n",
        "1970-01-01T00:00:00ZZ",
        "1970-1-1T0:0:0Z",
        "19700101T000000Z",
        "1970-W01-4T00:00:00Z",
        "1970-001T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "+1970-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-04-31T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-00-01T00:00:00Z",
        "2024-01-00T00:00:00Z",
        "\u0661\u0669\u0667\u0660-01-01T00:00:00Z",
        "1970-01-01T00:00:00.\u0661Z",
    ],
)
def test_what_is_no_instant_with_an_offset_is_refused(text):
    """A local time, a leap second, other ISO 8601 forms and other scripts' digits are no instants."""
    with pytest.raises(ValueError):
        events.instant_ms(text)


@given(
    st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)),  # noqa: DTZ001 (the offset is drawn below)
    st.integers(-1439, 1439),
)
def test_an_instant_agrees_with_the_standard_library(local, offset_minutes):
    """The arithmetic on days and offsets is checked against `datetime`, which shares none of it."""
    instant = local.replace(tzinfo=dt.timezone(dt.timedelta(minutes=offset_minutes)))
    since_epoch = instant - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

    assert events.instant_ms(instant.isoformat()) == since_epoch // dt.timedelta(milliseconds=1)
