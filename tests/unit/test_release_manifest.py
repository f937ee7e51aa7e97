"""A release's manifest: only what this shop signed, whole and unmixed, is accepted."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.errors import ReleaseRejected
from shop.release import REQUIRED_FILES, FileEntry, Manifest, check_file, read_manifest

KEY = b"k" * 32


def a_manifest(**changes: Any) -> Manifest:
    manifest = Manifest(
        release="release-2025-06-15",
        version=3,
        created_ms=1_750_000_000_000,
        snapshot="world-0123456789ab",
        files={name: FileEntry(10, "ab" * 32) for name in REQUIRED_FILES},
        metrics={"hr@10": 0.21},
    )
    return replace(manifest, **changes)


def text_of(manifest: Manifest, **changes: Any) -> str:
    raw = json.loads(manifest.signed(KEY).to_json())
    return json.dumps(raw | changes)


def test_a_signed_manifest_comes_back() -> None:
    manifest = a_manifest().signed(KEY)
    assert read_manifest(manifest.to_json(), KEY) == manifest


def test_the_order_of_keys_does_not_matter() -> None:
    raw = json.loads(a_manifest().signed(KEY).to_json())
    assert read_manifest(json.dumps(dict(reversed(raw.items()))), KEY).version == 3


def test_an_unsigned_manifest_is_rejected() -> None:
    with pytest.raises(ReleaseRejected, match="signature does not match"):
        read_manifest(a_manifest().to_json(), KEY)


def test_a_manifest_signed_with_another_key_is_rejected() -> None:
    with pytest.raises(ReleaseRejected, match="signature does not match"):
        read_manifest(a_manifest().signed(b"o" * 32).to_json(), KEY)


@pytest.mark.parametrize(
    "changes",
    [
        {"release": "release-other"},
        {"version": 4},
        {"created_ms": 1},
        {"snapshot": "x"},
        {"metrics": {"hr@10": 0.99}},
        {"files": {n: {"size_bytes": 11, "sha256": "ab" * 32} for n in REQUIRED_FILES}},
    ],
)
def test_any_changed_field_breaks_the_signature(changes: dict[str, Any]) -> None:
    with pytest.raises(ReleaseRejected, match="signature does not match"):
        read_manifest(text_of(a_manifest(), **changes), KEY)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (a_manifest(release="../up"), "is not \\[a-z0-9-\\]"),
        (a_manifest(release="Ab"), "is not"),
        (a_manifest(version=0), "not positive"),
        (a_manifest(files={}), "missing catalogue.parquet"),
        (a_manifest(files=a_manifest().files | {"../key": FileEntry(1, "")}), "not allowed"),
        (a_manifest(files=a_manifest().files | {"a/b": FileEntry(1, "")}), "not allowed"),
        (a_manifest(files=a_manifest().files | {".hidden": FileEntry(1, "")}), "not allowed"),
    ],
)
def test_names_that_could_do_harm_are_rejected_even_if_signed(
    manifest: Manifest, says: str
) -> None:
    with pytest.raises(ReleaseRejected, match=says):
        read_manifest(manifest.signed(KEY).to_json(), KEY)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "7", "{}", '{"format": 2}', '{"format": 9}', "{", '"x"']
)
def test_what_is_no_manifest_is_rejected(text: str) -> None:
    with pytest.raises(ReleaseRejected):
        read_manifest(text, KEY)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5))
def test_fields_of_any_type_are_rejected_and_never_crash(value: Any) -> None:
    for name in ("files", "metrics", "version", "signature", "release"):
        raw = json.loads(a_manifest().signed(KEY).to_json())
        if raw[name] == value:
            continue
        with pytest.raises(ReleaseRejected):
            read_manifest(json.dumps(raw | {name: value}), KEY)


@pytest.mark.parametrize("signature", ["ü", "\ud800", ""])
def test_a_signature_of_strange_letters_is_rejected(signature: str) -> None:
    with pytest.raises(ReleaseRejected, match="signature does not match"):
        read_manifest(text_of(a_manifest(), signature=signature), KEY)


def test_a_number_too_large_to_be_one_is_rejected() -> None:
    with pytest.raises(ReleaseRejected, match="cannot be read"):
        read_manifest(text_of(a_manifest(), version=float("inf")), KEY)


def test_the_file_that_was_signed_is_accepted() -> None:
    check_file(a_manifest(), "catalogue.parquet", 10, "ab" * 32)


@pytest.mark.parametrize(
    ("name", "size", "digest", "says"),
    [
        ("catalogue.parquet", 11, "ab" * 32, "damaged or from another release"),
        ("catalogue.parquet", 10, "cd" * 32, "damaged or from another release"),
        ("stray.bin", 10, "ab" * 32, "not in the manifest"),
    ],
)
def test_any_other_file_is_rejected(name: str, size: int, digest: str, says: str) -> None:
    with pytest.raises(ReleaseRejected, match=says):
        check_file(a_manifest(), name, size, digest)
