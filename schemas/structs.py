"""The same ten events as structs: what the rest of the program holds in its hands.

The structs are derived from the models of `schemas.events` when this module is imported, so the two cannot
disagree about a field or a bound. They are built by C code and take part in no garbage collection. They are
not frozen for one reason: `decode` turns a textual `at` into milliseconds in place. Nobody else writes to
one.

Building a struct (`Offered(call_id=..., at=...)`) checks nothing; only `decode` does. Every struct answers to
every name of `Event`: a field its type does not have reads as None.
"""

import functools
import operator
import types
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Union, get_args, get_origin

import msgspec
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from schemas.events import EVENT_TYPES, MODELS, CallEvent, name_of

# The fields which only some types have; the others answer with None.
VARYING_FIELDS: Final = ("queue", "agent", "reason", "duration_ms")

_META_BOUNDS: Final = ("ge", "le", "min_length", "max_length")


def union(members: Iterable[Any]) -> Any:
    """Join types into one that takes any of them."""
    return functools.reduce(operator.or_, members)


def _bounds(metadata: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the bounds among a field's metadata; one nested in a union still wears its FieldInfo."""
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from _bounds(item.metadata)
        else:
            yield from ((name, getattr(item, name)) for name in _META_BOUNDS if hasattr(item, name))


def _derived_type(annotation: Any, metadata: list[Any]) -> Any:
    """Translate one annotation of a model into the type that msgspec checks."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *further = get_args(annotation)
        return _derived_type(inner, further + metadata)
    if origin in (Union, types.UnionType):
        return union(_derived_type(member, metadata) for member in get_args(annotation))
    bounds: dict[str, Any] = dict(_bounds(metadata))
    derived = Annotated[annotation, msgspec.Meta(**bounds)] if bounds else annotation
    # Something that is converted before it is checked arrives as text too.
    return derived | str if any(isinstance(item, BeforeValidator) for item in metadata) else derived


def _derived_field(name: str, field: FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    derived = _derived_type(field.annotation, field.metadata)
    if field.is_required():
        return name, derived
    if field.default is not None:
        # Null stands for the default here. msgspec would store the null, so it may not take it: the
        # reference path does.
        derived = union(member for member in get_args(derived) if member is not types.NoneType)
    return name, derived, field.default


def _derived_struct(model: type[CallEvent]) -> Any:
    names = [name for name in model.model_fields if name != "type"]
    kind = MODELS.index(model)
    return msgspec.defstruct(
        name_of(model),
        [_derived_field(name, model.model_fields[name]) for name in names],
        bases=(Event,),
        module=__name__,
        namespace={
            "__doc__": model.__doc__,
            "type": EVENT_TYPES[kind],
            "kind": kind,
            **{name: None for name in VARYING_FIELDS if name not in names},
        },
        tag_field="type",
        tag=EVENT_TYPES[kind],
        kw_only=True,
        omit_defaults=True,
        gc=False,
    )


if TYPE_CHECKING:

    class Event:
        """One decoded call event."""

        type: ClassVar[str]
        kind: ClassVar[int]
        call_id: str
        at: int
        event_id: str | None
        channel: str
        schema_version: int
        queue: str | None
        agent: str | None
        reason: str | None
        duration_ms: int | None

    class Offered(Event):
        """A contact reaches the centre."""

        def __init__(
            self,
            *,
            call_id: str,
            at: int,
            event_id: str | None = None,
            channel: str = "voice",
            schema_version: int = 1,
            queue: str | None = None,
        ) -> None: ...

    class Queued(Event):
        """A visit begins."""

        queue: str

        def __init__(
            self,
            *,
            call_id: str,
            at: int,
            event_id: str | None = None,
            channel: str = "voice",
            schema_version: int = 1,
            queue: str,
        ) -> None: ...

    class Answered(Event):
        """A conversation begins."""

        def __init__(
            self,
            *,
            call_id: str,
            at: int,
            event_id: str | None = None,
            channel: str = "voice",
            schema_version: int = 1,
            queue: str | None = None,
            agent: str | None = None,
        ) -> None: ...

    class Abandoned(Event):
        """The customer gives up while waiting."""

        def __init__(
            self,
            *,
            call_id: str,
            at: int,
            event_id: str | None = None,
            channel: str = "voice",
            schema_version: int = 1,
            queue: str | None = None,
        ) -> None: ...

    class Left(Event):
        """The contact leaves the queue otherwise."""

        reason: str

        def __init__(
            self,
            *,
            call_id: str,
            at: int,
            event_id: str | None = None,
            channel: str = "voice",
            schema_version: int = 1,
            queue: str | None = None,
            reason: str,
        ) -> None: ...

    class Blocked(Event):
        """The contact is refused before it could wait."""

        reason: str

        def __init__(
            self,
            *,
            call_id: str,
            at: int,
            event_id: str | None = None,
            channel: str = "voice",
            schema_version: int = 1,
            queue: str | None = None,
            reason: str,
        ) -> None: ...

    class Hold(Event):
        """Talk time stops."""

        def __init__(
            self,
            *,
            call_id: str,
            at: int,
            event_id: str | None = None,
            channel: str = "voice",
            schema_version: int = 1,
        ) -> None: ...

    class Resumed(Event):
        """Talk time goes on."""

        def __init__(
            self,
            *,
            call_id: str,
            at: int,
            event_id: str | None = None,
            channel: str = "voice",
            schema_version: int = 1,
        ) -> None: ...

    class Ended(Event):
        """The conversation is over."""

        def __init__(
            self,
            *,
            call_id: str,
            at: int,
            event_id: str | None = None,
            channel: str = "voice",
            schema_version: int = 1,
            reason: str | None = None,
        ) -> None: ...

    class WrapUp(Event):
        """After-call work is finished."""

        duration_ms: int

        def __init__(
            self,
            *,
            call_id: str,
            at: int,
            event_id: str | None = None,
            channel: str = "voice",
            schema_version: int = 1,
            duration_ms: int,
            agent: str | None = None,
        ) -> None: ...

else:

    class Event(msgspec.Struct, gc=False):
        """One decoded call event; the base of the ten structs, so that `isinstance` can ask for it."""

    Offered, Queued, Answered, Abandoned, Left, Blocked, Hold, Resumed, Ended, WrapUp = (
        _derived_struct(model) for model in MODELS
    )

STRUCTS: Final[dict[str, type[Event]]] = {
    struct.type: struct
    for struct in (Offered, Queued, Answered, Abandoned, Left, Blocked, Hold, Resumed, Ended, WrapUp)
}
"""The struct of each event type, in lifecycle order."""
