"""Write docs/api.md from the comments of the protos, so that the reference cannot drift from them.

python scripts/api_docs.py            writes it
python scripts/api_docs.py --check    exit code 1 if it is out of date
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
PROTOS = (
    "serving/proto/recommendations.proto",
    "serving/proto/descriptions.proto",
    "serving/proto/business.proto",
    "serving/proto/feeds.proto",
)
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6  # field numbers in FileDescriptorProto, which paths are made of
_MEMBER = 2  # fields of a message, values of an enum, methods of a service
_TITLES = {
    "vitrine.v1": "What storefronts call",
    "vitrine.business.v1": "What Vitrine asks the shop's systems",
    "vitrine.feeds.v1": "What Vitrine asks about the world around the shop",
}
_OPENING = """# API reference

Made from the comments of the protos by `scripts/api_docs.py`; do not edit. How to call it is shown
in the [README](../README.md). The door also serves `grpc.health.v1.Health` and server reflection.

| the caller sees | when |
|---|---|
| `INVALID_ARGUMENT` with `google.rpc.BadRequest` | a field is wrong; field and reason are named |
| `NOT_FOUND` | what was named does not exist |
| `RESOURCE_EXHAUSTED` with `google.rpc.RetryInfo` | shed; retry after the time named |
| `DEADLINE_EXCEEDED` | not even a fallback fitted into the deadline |
| `UNAVAILABLE` | the event log cannot keep events at the moment; retry |

An unknown visitor succeeds. A lost dependency degrades. No eligible product is an empty list.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether it is out of date")
    check_only = parser.parse_args().check
    text = rendered()
    if check_only:
        return 0 if PAGE.exists() and PAGE.read_text() == text else 1
    PAGE.write_text(text)
    return 0


def rendered() -> str:
    """The whole page."""
    parts = [_OPENING]
    for file in _described():
        parts += [f"\n## {_TITLES[file.package]}: `{file.package}`\n", *_sections(file)]
    return "".join(parts)


def _described() -> Iterator[FileDescriptorProto]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "protos.bin"
        words = ["protoc", f"-I{ROOT}", "--include_source_info", f"--descriptor_set_out={out}"]
        if protoc.main([*words, *(str(ROOT / name) for name in PROTOS)]):
            sys.exit("the protos do not compile; see above")
        described = FileDescriptorSet.FromString(out.read_bytes())
    yield from described.file


def _sections(file: FileDescriptorProto) -> Iterator[str]:
    comments = {
        tuple(place.path): " ".join(
            (place.leading_comments or place.trailing_comments).split()
        ).replace("|", "\\|")
        for place in file.source_code_info.location
    }
    for at, service in enumerate(file.service):
        yield _service(service, comments, (_SERVICE, at))
    for at, message in enumerate(file.message_type):
        yield _message(message, comments, (_MESSAGE, at))
    for at, enum in enumerate(file.enum_type):
        yield _enum(enum, comments, (_ENUM, at))


def _service(
    service: ServiceDescriptorProto, comments: dict[tuple[int, ...], str], path: tuple[int, ...]
) -> str:
    lines = [
        f"| `{method.name}` | `{_short(method.input_type)}` |"
        f" {'stream of ' if method.server_streaming else ''}`{_short(method.output_type)}` |"
        f" {comments.get((*path, _MEMBER, at), '')} |"
        for at, method in enumerate(service.method)
    ]
    head = "| method | takes | gives | what it does |\n|---|---|---|---|\n"
    return _headed(f"service {service.name}", comments.get(path, ""), head, lines)


def _message(
    message: DescriptorProto, comments: dict[tuple[int, ...], str], path: tuple[int, ...]
) -> str:
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    lines = [
        f"| {field.number} | `{field.name}` | {_kind(field, maps)} |"
        f" {comments.get((*path, _MEMBER, at), '')} |"
        for at, field in enumerate(message.field)
    ]
    head = "| no. | field | type | meaning |\n|---|---|---|---|\n"
    return _headed(message.name, comments.get(path, ""), head, lines)


def _enum(
    enum: EnumDescriptorProto, comments: dict[tuple[int, ...], str], path: tuple[int, ...]
) -> str:
    lines = [
        f"| {value.number} | `{value.name}` | {comments.get((*path, _MEMBER, at), '')} |"
        for at, value in enumerate(enum.value)
    ]
    head = "| no. | value | meaning |\n|---|---|---|\n"
    return _headed(f"enum {enum.name}", comments.get(path, ""), head, lines)


def _headed(title: str, comment: str, head: str, lines: list[str]) -> str:
    table = head + "".join(f"{line}\n" for line in lines) if lines else "No fields.\n"
    return f"\n### {title}\n\n{comment + chr(10) * 2 if comment else ''}{table}"


def _kind(field: FieldDescriptorProto, maps: dict[str, DescriptorProto]) -> str:
    name = _short(field.type_name)
    if name in maps:
        key, value = maps[name].field
        return f"map of {_scalar(key)} to {_scalar(value)}"
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    prefix = "repeated " if repeated else "optional " if field.proto3_optional else ""
    return prefix + (f"`{name}`" if name else _scalar(field))


def _scalar(field: FieldDescriptorProto) -> str:
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _short(name: str) -> str:
    return name.rpartition(".")[2]


if __name__ == "__main__":
    raise SystemExit(main())
