"""One rule book for the replicas of one machine, agreed upon in its state folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from serving.adapters.machine_rules import MachineRules
from serving.rules_sharing import SharedBook, sha256_of
from shop.errors import DependencyError
from tests.contract.rule_replicas import Replica, eventually, replica, run

PIN = 'kind = "pin"\nproduct = "p40"\nposition = 1'
EXCLUDE = 'kind = "exclude"\nproducts = ["p1"]'
FAULTY = 'kind = "exclude"\ncategories = ["nonesuch"]'
SLOW_S = 0.3  # so that the other replica sees both files before this one looks once


def rules_in(folder: Path) -> MachineRules:
    return MachineRules(folder / "run" / "rules.agreed")


async def taken_up(each: Replica, rules: int) -> None:
    await eventually(lambda: each.rules == rules)


def test_a_book_that_one_replica_saw_and_the_next_did_not_holds_for_both(tmp_path: Path) -> None:
    async def use() -> None:
        shared = rules_in(tmp_path)
        async with replica(tmp_path, shared) as quick, replica(tmp_path, shared, SLOW_S) as slow:
            quick.write(PIN)
            await eventually(lambda: shared.read(None) is not None)
            quick.write(FAULTY)
            await eventually(lambda: bool(quick.faults))
            await taken_up(quick, 1)
            await taken_up(slow, 1)

    run(use)


def test_they_turn_to_it_at_the_same_moment(tmp_path: Path) -> None:
    async def use() -> None:
        shared = rules_in(tmp_path)
        async with replica(tmp_path, shared) as a, replica(tmp_path, shared, 0.1) as b:
            a.write(PIN, EXCLUDE)
            await taken_up(a, 2)
            await taken_up(b, 2)
            book = shared.read(None)
            assert book is not None
            await eventually(lambda: 2 in a.turned_at_ms and 2 in b.turned_at_ms)
            assert min(a.turned_at_ms[2], b.turned_at_ms[2]) >= book.from_ms

    run(use)


def test_a_replica_that_starts_later_goes_by_what_the_other_does(tmp_path: Path) -> None:
    async def use() -> None:
        shared = rules_in(tmp_path)
        async with replica(tmp_path, shared) as a:
            a.write(PIN)
            await taken_up(a, 1)
            a.settings.rules_file.unlink()  # which is no way to take a book back
            async with replica(tmp_path, shared) as b:
                assert b.rules == 1

    run(use)


def test_what_was_lost_is_put_back(tmp_path: Path) -> None:
    async def use() -> None:
        shared = rules_in(tmp_path)
        async with replica(tmp_path, shared) as a:
            a.write(PIN)
            await taken_up(a, 1)
            (tmp_path / "run" / "rules.agreed").unlink()
            await eventually(lambda: shared.read(None) is not None)
            a.write(PIN, EXCLUDE)
            await taken_up(a, 2)

    run(use)


def test_epochs_rise_and_an_older_book_never_comes_back(tmp_path: Path) -> None:
    rules = rules_in(tmp_path)
    assert rules.read(None) is None
    rules.publish(b"one", sha256_of(b"one"), from_ms=5)
    one = rules.read(None)
    rules.publish(b"two", sha256_of(b"two"), from_ms=5)
    rules.publish(b"two", sha256_of(b"two"), from_ms=9)
    two = rules.read(one)
    assert one is not None
    assert two is not None
    assert (one.epoch, one.raw, two.epoch, two.raw, two.from_ms) == (5, b"one", 6, b"two", 5)
    assert rules.read(two) is two
    rules.restore(one)
    assert rules.read(two) is two
    rules.restore(replace(two, epoch=7))
    assert rules.read(two) == replace(two, epoch=7)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no book at all",
        b"1 2\nraw",
        b"x %s 5\none" % sha256_of(b"one").encode(),
        b"1 %s 5\ntwo" % sha256_of(b"one").encode(),
        b"9" * 16 + b" %s 5\none" % sha256_of(b"one").encode(),
        b"1 \xff 5\none",
    ],
)
def test_what_is_damaged_is_told_and_a_new_book_takes_its_place(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "rules.agreed"
    path.write_bytes(content)
    rules = MachineRules(path)
    with pytest.raises(DependencyError, match="damaged"):
        rules.read(None)
    rules.publish(b"one", sha256_of(b"one"), from_ms=5)
    assert rules.read(None) == SharedBook(5, sha256_of(b"one"), 5, b"one")


def test_a_disk_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    rules = MachineRules(tmp_path / "file" / "rules.agreed")
    with pytest.raises(DependencyError):
        rules.publish(b"one", sha256_of(b"one"), from_ms=5)
