"""What a call event is: the only definition, and the glossary.

The JSON Schemas, the AsyncAPI document and the fast decoder are all derived from these models, so a field or
a bound is written here and nowhere else. A field that is optional may be written as null, which means the
same as leaving it out. Fields that are not listed are ignored.

Words: a *contact* is one call, chat or message, known by its `call_id`. A *visit* is one contact entering one
queue once; it is the unit of counting. A *conversation* begins when an agent answers. *Offered*, *queued* and
*answered* are three different things.
"""

import datetime as dt
import functools
import re
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from schemas import limits

LeftReason = Literal["overflow", "timeout", "key", "empty", "callback", "other"]
"""Why a contact left a queue without an answer and without giving up."""

BlockedReason = Literal["busy", "full", "closed", "no_agents", "other"]
"""Why a contact was refused before it could wait."""

LEFT_REASONS: Final[tuple[str, ...]] = get_args(LeftReason)
BLOCKED_REASONS: Final[tuple[str, ...]] = get_args(BlockedReason)

CHANNEL_DEFAULT: Final = "voice"
SCHEMA_VERSION_DEFAULT: Final = 1

# RFC 3339, section 5.6, with both liberties its notes give: lower-case t and z, and a space instead of the T.
# Seconds end at 59: a leap second has no millisecond of its own since the epoch. [0-9] and not \d, which
# would take the digits of every script.
AT_PATTERN: Final = (
    r"^([0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01]))[Tt ]"
    r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])"
    rf"(?:\.([0-9]{{1,{limits.AT_FRACTION_DIGITS_MAX}}}))?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
_AT: Final = re.compile(AT_PATTERN)
_EPOCH_DAY: Final = dt.date(1970, 1, 1).toordinal()
_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000

_Optional = TypeVar("_Optional", str, int)


# The events of a stream share a few minutes; a replay of unsorted history shares fewer, and loses only time.
@functools.lru_cache(maxsize=1024)
def _minute_start_ms(date: str, hour: str, minute: str) -> int:
    """Milliseconds from the epoch to that minute in UTC; ValueError for a day that no calendar has."""
    day = dt.date.fromisoformat(date).toordinal() - _EPOCH_DAY
    return day * _DAY_MS + int(hour) * _HOUR_MS + int(minute) * _MINUTE_MS


def instant_ms(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 instant.

    Accepted is what `AT_PATTERN` matches and the calendar has (no 30 February, no year 0000). Digits of the
    fraction beyond the third are cut off, never rounded, so an instant cannot move into the next bucket.
    `-00:00` is UTC. The result may lie outside the bounds of `at`. Anything else is a ValueError.
    """
    match = _AT.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 instant with an offset")
    date, hour, minute, second, fraction, offset = match.groups()
    at_ms = _minute_start_ms(date, hour, minute) + int(second) * 1_000
    if fraction is not None:
        at_ms += int(fraction[:3].ljust(3, "0"))
    if offset[1:]:
        offset_ms = int(offset[1:3]) * _HOUR_MS + int(offset[4:]) * _MINUTE_MS
        at_ms += offset_ms if offset[0] == "-" else -offset_ms
    return at_ms


def _instant(value: object) -> object:
    return instant_ms(value) if isinstance(value, str) else value


def _default(default: _Optional) -> AfterValidator:
    def null_is_default(value: _Optional | None) -> _Optional:
        return default if value is None else value

    return AfterValidator(null_is_default)


CallId = Annotated[
    str, Field(min_length=limits.CALL_ID_CHARACTERS_MIN, max_length=limits.CALL_ID_CHARACTERS_MAX)
]
EventId = Annotated[
    str, Field(min_length=limits.EVENT_ID_CHARACTERS_MIN, max_length=limits.EVENT_ID_CHARACTERS_MAX)
]
QueueName = Annotated[
    str, Field(min_length=limits.QUEUE_CHARACTERS_MIN, max_length=limits.QUEUE_CHARACTERS_MAX)
]
AgentName = Annotated[
    str, Field(min_length=limits.AGENT_CHARACTERS_MIN, max_length=limits.AGENT_CHARACTERS_MAX)
]
ChannelName = Annotated[
    str, Field(min_length=limits.CHANNEL_CHARACTERS_MIN, max_length=limits.CHANNEL_CHARACTERS_MAX)
]
EndedReason = Annotated[
    str, Field(min_length=limits.ENDED_REASON_CHARACTERS_MIN, max_length=limits.ENDED_REASON_CHARACTERS_MAX)
]
SchemaVersion = Annotated[int, Field(ge=limits.SCHEMA_VERSION_MIN, le=limits.SCHEMA_VERSION_MAX)]
DurationMs = Annotated[int, Field(ge=limits.DURATION_MS_MIN, le=limits.DURATION_MS_MAX)]
InstantMs = Annotated[
    int,
    BeforeValidator(_instant),
    Field(ge=limits.AT_MS_MIN, le=limits.AT_MS_MAX),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": limits.AT_MS_MIN, "maximum": limits.AT_MS_MAX},
                {"type": "string", "pattern": AT_PATTERN},
            ]
        }
    ),
]


def name_of(model: type[Any]) -> str:
    """Return the name that readers know: the struct's, and the schema's title."""
    return model.__name__.removesuffix("Model")


class CallEvent(BaseModel):
    """What every event says: which contact, when."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, model_title_generator=name_of)

    call_id: CallId = Field(description="The contact; also the record's key.")
    at: InstantMs = Field(
        description="When it happened: milliseconds since the epoch, or an RFC 3339 instant with an offset."
    )
    event_id: EventId | None = Field(
        default=None, description="The event's own identity; the same one twice in a call is a duplicate."
    )
    channel: Annotated[ChannelName | None, _default(CHANNEL_DEFAULT)] = Field(
        default=CHANNEL_DEFAULT, description="How the contact came: voice, chat, ..."
    )
    schema_version: Annotated[SchemaVersion | None, _default(SCHEMA_VERSION_DEFAULT)] = Field(
        default=SCHEMA_VERSION_DEFAULT, description="The version of this definition that the producer wrote."
    )


class OfferedModel(CallEvent):
    """A contact reaches the centre, before any queue (it may hear a menu, or be refused)."""

    type: Literal["offered"]
    queue: QueueName | None = Field(default=None, description="The queue it is meant for, if known yet.")


class QueuedModel(CallEvent):
    """The contact enters a queue: a visit begins, and its wait with it."""

    type: Literal["queued"]
    queue: QueueName = Field(description="The queue it enters.")


class AnsweredModel(CallEvent):
    """An agent takes the contact: the visit's wait ends and a conversation begins."""

    type: Literal["answered"]
    queue: QueueName | None = Field(
        default=None, description="Selects the visit; absent: the newest open one."
    )
    agent: AgentName | None = Field(default=None, description="Who took it.")


class AbandonedModel(CallEvent):
    """The customer gives up while waiting."""

    type: Literal["abandoned"]
    queue: QueueName | None = Field(
        default=None, description="Selects the visit; absent: the newest open one."
    )


class LeftModel(CallEvent):
    """The contact leaves the queue otherwise: neither answered nor given up."""

    type: Literal["left"]
    queue: QueueName | None = Field(
        default=None, description="Selects the visit; absent: the newest open one."
    )
    reason: LeftReason = Field(description="Why it left.")


class BlockedModel(CallEvent):
    """The contact is refused before it could wait."""

    type: Literal["blocked"]
    queue: QueueName | None = Field(default=None, description="The queue that refused it, if known.")
    reason: BlockedReason = Field(description="Why it was refused.")


class HoldModel(CallEvent):
    """The agent puts the customer on hold: talk time stops."""

    type: Literal["hold"]


class ResumedModel(CallEvent):
    """The hold is over: talk time goes on."""

    type: Literal["resumed"]


class EndedModel(CallEvent):
    """The conversation is over; after-call work may follow."""

    type: Literal["ended"]
    reason: EndedReason | None = Field(default=None, description="Who or what ended it, in a word.")


class WrapUpModel(CallEvent):
    """After-call work is finished."""

    type: Literal["wrap_up"]
    duration_ms: DurationMs = Field(description="How long the after-call work took.")
    agent: AgentName | None = Field(default=None, description="Whose work it was; selects the conversation.")


# In the order of a contact's life. The index in this tuple is the event's `kind`.
MODELS: Final[tuple[type[CallEvent], ...]] = (
    OfferedModel,
    QueuedModel,
    AnsweredModel,
    AbandonedModel,
    LeftModel,
    BlockedModel,
    HoldModel,
    ResumedModel,
    EndedModel,
    WrapUpModel,
)

AnyEvent = Annotated[
    OfferedModel
    | QueuedModel
    | AnsweredModel
    | AbandonedModel
    | LeftModel
    | BlockedModel
    | HoldModel
    | ResumedModel
    | EndedModel
    | WrapUpModel,
    Field(discriminator="type"),
]


def type_of(model: type[CallEvent]) -> str:
    """Return the value of `type` by which this model's events are known."""
    annotation: Any = model.model_fields["type"].annotation
    name: str = get_args(annotation)[0]
    return name


EVENT_TYPES: Final[tuple[str, ...]] = tuple(type_of(model) for model in MODELS)
