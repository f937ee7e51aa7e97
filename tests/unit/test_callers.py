"""Tokens: who may do what, what is kept of them, and files that nobody should trust."""

import json
import stat
from pathlib import Path

import pytest

from serving.adapters.token_files import add, listed, read_callers, remove, seen
from serving.callers import SCOPE_OF_METHOD, Callers, Scope, is_token, new_caller
from serving.proto import descriptions_pb2, recommendations_pb2
from shop.errors import Forbidden, NotFound, SettingsRejected, Unauthenticated

RECOMMEND = "/vitrine.v1.Recommendations/Recommend"
SUGGEST = "/vitrine.v1.Recommendations/SuggestPrice"


def a_book(*scopes: Scope) -> tuple[Callers, str]:
    caller, token = new_caller("ada", frozenset(scopes), now_ms=1)
    return Callers({caller.id: caller}), f"Bearer {token}"


def test_a_token_opens_what_its_scope_is_for_and_nothing_else() -> None:
    book, header = a_book(Scope.SHOP)
    assert book.allow(header, RECOMMEND).name == "ada"
    with pytest.raises(Forbidden, match="needs merchandiser"):
        book.allow(header, SUGGEST)
    with pytest.raises(Forbidden, match="needs operator"):
        book.allow(header, "/vitrine.v1.Operations/Promote")


def test_an_operator_may_do_everything() -> None:
    book, header = a_book(Scope.OPERATOR)
    for method in (RECOMMEND, SUGGEST, "/vitrine.v1.Operations/Promote"):
        assert book.allow(header, method).name == "ada"


def test_whoever_has_no_token_or_a_wrong_one_is_not_told_which() -> None:
    book, header = a_book(Scope.SHOP)
    identifier = header[11:23]
    said = set()
    for wrong in (
        header[:-1] + ("0" if header[-1] != "0" else "1"),
        f"Bearer vit_{'0' * 12}_{header[-64:]}",
        f"Bearer vit_{identifier}_",
        header.removeprefix("Bearer "),
        header + "\n",
        "Bearer " + "x" * 100_000,
        "Basic YWRhOnNlY3JldA==",
    ):
        with pytest.raises(Unauthenticated) as caught:
            book.who(wrong)
        said.add(str(caught.value))
    assert said == {"the token is not valid"}
    for missing in (None, ""):
        with pytest.raises(Unauthenticated, match="a token is needed"):
            book.who(missing)


def test_every_method_of_the_door_has_a_scope() -> None:
    services = [
        recommendations_pb2.DESCRIPTOR.services_by_name["Recommendations"],
        descriptions_pb2.DESCRIPTOR.services_by_name["Descriptions"],
    ]
    methods = {f"/{each.full_name}/{one.name}" for each in services for one in each.methods}
    assert methods == set(SCOPE_OF_METHOD)


def test_the_file_holds_no_secret_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "callers.json"
    caller, token = new_caller("ada", frozenset({Scope.SHOP}), now_ms=5, calls_per_s=50.0)
    add(file, caller)
    assert is_token(token)
    assert token[-64:] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert listed(file) == [caller]
    assert read_callers(file).who(f"Bearer {token}") == caller


def test_a_name_has_one_token_until_it_is_revoked(tmp_path: Path) -> None:
    file = tmp_path / "callers.json"
    first, _ = new_caller("ada", frozenset({Scope.SHOP}), now_ms=1)
    again, _ = new_caller("ada", frozenset({Scope.SHOP}), now_ms=2)
    assert seen(file) is None
    add(file, first)
    before = seen(file)
    with pytest.raises(SettingsRejected, match="has a token already"):
        add(file, again)
    assert remove(file, "ada") == first
    assert seen(file) != before
    with pytest.raises(NotFound, match="nobody called ada"):
        remove(file, "ada")
    add(file, again)
    assert listed(file) == [again]


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "00"},
        {"sha256": "zz"},
        {"scopes": []},
        {"scopes": ["root"]},
        {"name": "../../etc"},
        {"name": 5},
        {"calls_per_s": -1},
        {"calls_per_s": "many"},
        {"created_ms": None},
    ],
)
def test_a_file_with_a_caller_that_cannot_be_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    file = tmp_path / "callers.json"
    caller, _ = new_caller("ada", frozenset({Scope.SHOP}), now_ms=1)
    add(file, caller)
    table = json.loads(file.read_text())
    table["callers"][0] |= change
    file.write_text(json.dumps(table))
    with pytest.raises(SettingsRejected, match=r"is no file of callers"):
        read_callers(file)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "callers": []}', "\x00"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "callers.json"
    file.touch(mode=0o600)
    file.write_text(text)
    with pytest.raises(SettingsRejected, match=r"is no file of callers"):
        read_callers(file)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "callers.json"
    file.touch(mode=0o600)
    file.chmod(0o644)
    with pytest.raises(SettingsRejected, match="chmod 600"):
        read_callers(file)


@pytest.mark.parametrize("name", ["", "a b", "x" * 41, "-ada", "ada\n"])
def test_a_name_that_would_not_fit_a_log_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        new_caller(name, frozenset({Scope.SHOP}), now_ms=1)
