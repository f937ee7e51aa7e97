"""The public API is never broken: what was released once keeps its name, number and type.

`released_protos.json` holds every field and method that was ever released. After adding something,
`python -m tests.design.test_protos` writes the new state; taking something away fails here.
"""

import json
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

from serving.proto import (
    business_pb2,
    descriptions_pb2,
    feeds_pb2,
    recommendations_pb2,
    writer_pb2,
)

RELEASED = Path(__file__).with_name("released_protos.json")


def _kind(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    repeated = "repeated " if field.is_repeated else ""
    return f"{repeated}{named.full_name if named else field.type}"


def _fields(message: Descriptor) -> dict[str, str]:
    found = {
        f"{message.full_name}#{field.number}": f"{field.name}: {_kind(field)}"
        for field in message.fields
    }
    for nested in message.nested_types:
        found |= _fields(nested)
    return found


def _surface(file: FileDescriptor) -> dict[str, str]:
    found: dict[str, str] = {}
    for message in file.message_types_by_name.values():
        found |= _fields(message)
    for enum in file.enum_types_by_name.values():
        found |= {f"{enum.full_name}#{value.number}": value.name for value in enum.values}
    for service in file.services_by_name.values():
        for method in service.methods:
            streams = " stream" if method.server_streaming else ""
            found[method.full_name] = (
                f"{method.input_type.full_name} →{streams} {method.output_type.full_name}"
            )
    return found


def _current() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in (recommendations_pb2, descriptions_pb2, business_pb2, feeds_pb2, writer_pb2):
        found |= _surface(file.DESCRIPTOR)
    return found


def test_nothing_released_has_changed_or_gone() -> None:
    current = _current()
    broken = {
        name: (meaning, current.get(name))
        for name, meaning in json.loads(RELEASED.read_text()).items()
        if current.get(name) != meaning
    }
    assert broken == {}


def test_everything_current_is_written_down() -> None:
    missing = sorted(set(_current()) - set(json.loads(RELEASED.read_text())))
    assert missing == [], "run `python -m tests.design.test_protos` and commit the result"


if __name__ == "__main__":
    RELEASED.write_text(json.dumps(_current(), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
