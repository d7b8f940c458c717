"""The structs are the models, and answer to every name of an event."""

import ast
import inspect
from pathlib import Path

import pytest

import schemas
from schemas import structs
from schemas.events import EVENT_TYPES, MODELS

SOURCE = ast.parse(Path(structs.__file__).read_text(encoding="utf-8"))
STUBS = {
    node.name: node
    for statement in SOURCE.body
    if isinstance(statement, ast.If)
    for node in statement.body
    if isinstance(node, ast.ClassDef)
}


@pytest.mark.parametrize("kind", range(len(EVENT_TYPES)))
def test_a_struct_has_the_fields_and_defaults_of_its_model(kind):
    """Name, order and default of every field come from the model."""
    struct, model = structs.STRUCTS[EVENT_TYPES[kind]], MODELS[kind]
    defaults = {name: field.default for name, field in model.model_fields.items() if not field.is_required()}
    event = struct(**{name: 1 for name in struct.__struct_fields__ if name not in defaults})

    assert struct.__struct_fields__ == tuple(name for name in model.model_fields if name != "type")
    assert {name: getattr(event, name) for name in defaults} == defaults


@pytest.mark.parametrize("kind", range(len(EVENT_TYPES)))
def test_a_struct_answers_to_every_name_of_an_event(kind):
    """What a type does not have reads as None, so nobody asks first."""
    struct = structs.STRUCTS[EVENT_TYPES[kind]]

    assert (struct.type, struct.kind) == (EVENT_TYPES[kind], kind)
    assert issubclass(struct, schemas.Event)
    assert not struct.__struct_config__.gc
    for name in set(structs.VARYING_FIELDS) - set(struct.__struct_fields__):
        assert getattr(struct, name) is None


@pytest.mark.parametrize("struct", structs.STRUCTS.values())
def test_what_mypy_believes_of_a_struct_is_true(struct):
    """The stub that type checkers read has exactly the arguments and defaults of the real struct."""
    (init,) = (node for node in STUBS[struct.__name__].body if isinstance(node, ast.FunctionDef))
    believed = {
        argument.arg: inspect.Parameter.empty if default is None else ast.literal_eval(default)
        for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    }
    real = {name: parameter.default for name, parameter in inspect.signature(struct).parameters.items()}

    assert believed == real


def test_the_structs_are_exported_under_their_names():
    """Every struct can be had from the package, and knows its own module."""
    for struct in structs.STRUCTS.values():
        assert getattr(schemas, struct.__name__) is struct
        assert struct.__module__ == "schemas.structs"
    assert set(STUBS) == {"Event"} | {struct.__name__ for struct in structs.STRUCTS.values()}
