"""Engines of a release: kept beside it, moved by promotion, and never another release's.

The bytes are no engines, since nothing here can build any; who signs, moves, chooses and refuses
them is what ships.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from export.command import shelf_of
from export.engine_command import engines_at_start
from export.engine_files import ENGINES, BuiltEngine, put_engines, read_engines
from export.promote import EngineShelf, Shelf, promote, rollback
from export.tensorrt import EngineKey
from serving.adapters.release_files import current_release
from shop.engine_record import RECORD, EngineEntry, EngineRecord, read_record
from shop.errors import DependencyUnavailable, ReleaseRejected
from shop.release import Manifest
from shop.tensors import CANDIDATE_BUCKETS, MODELS, RANKER
from tests.contract.small_release import KEY, a_release

HOPPER, AMPERE = (9, 0), (8, 0)


def an_engine(
    manifest: Manifest,
    model: str,
    capability: tuple[int, int] = HOPPER,
    tensorrt: str = "10.13.2",
    plan: bytes = b"plan",
) -> BuiltEngine:
    key = EngineKey(model, capability, tensorrt, "fp16")
    entry = EngineEntry(
        model=model,
        file=key.file_name,
        size_bytes=len(plan),
        sha256=hashlib.sha256(plan).hexdigest(),
        source_sha256=manifest.files[f"{model}.onnx"].sha256,
        compute_capability=capability,
        tensorrt_version=tensorrt,
        precision="fp16",
        lengths=CANDIDATE_BUCKETS if model == RANKER else (),
        relative_error=1e-3,
        ndcg_loss=1e-4,
    )
    return BuiltEngine(entry, plan, "{}\n")


def engines_for(
    capability: tuple[int, int], folder: Path, manifest: Manifest, *, plan: bytes = b"plan"
) -> None:
    built = [an_engine(manifest, model, capability, plan=plan) for model in MODELS]
    put_engines(folder, manifest, KEY, built)


def a_shop(
    root: Path, *versions: int, is_searchable: bool = False
) -> tuple[Shelf, list[tuple[Path, Manifest]]]:
    shelf = shelf_of(root)
    releases = [
        a_release(shelf.releases_root, version=version, seed=version, is_searchable=is_searchable)
        for version in versions
    ]
    return shelf, releases


def installed(shelf: Shelf, model: str = RANKER) -> dict[str, bytes]:
    """File below the model → content, of what Triton would load."""
    assert shelf.engines is not None
    folder = shelf.engines.repository / model
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_promotion_puts_a_releases_engines_where_triton_loads_from(tmp_path: Path) -> None:
    shelf, [(folder, manifest)] = a_shop(tmp_path, 1, is_searchable=True)
    engines_for(HOPPER, folder, manifest)
    engines_for(AMPERE, folder, manifest, plan=b"other plan")
    promote(manifest.release, shelf, KEY)
    files = installed(shelf)
    assert sorted(files) == [
        "1/engines.json",
        "1/ranker.sm_80.plan",
        "1/ranker.sm_90.plan",
        "config.pbtxt",
    ]
    assert files["1/ranker.sm_80.plan"] == b"other plan"
    record = read_record(files["1/engines.json"].decode(), KEY)
    assert record.engine_for(RANKER, 1, AMPERE).file == "ranker.sm_80.plan"
    assert b'cc_model_filenames { key: "8.0" value: "ranker.sm_80.plan" }' in files["config.pbtxt"]
    assert sorted(installed(shelf, "text_encoder")) == ["1/model.onnx", "config.pbtxt"]


def test_the_release_before_stays_and_its_engines_need_no_other_configuration(
    tmp_path: Path,
) -> None:
    shelf, releases = a_shop(tmp_path, 1, 2, 3)
    for at, (folder, manifest) in enumerate(releases):
        built = [an_engine(manifest, model, tensorrt=f"10.{at}") for model in MODELS]
        put_engines(folder, manifest, KEY, built)
        promote(manifest.release, shelf, KEY)
    files = installed(shelf)
    assert {name.split("/")[0] for name in files} == {"2", "3", "config.pbtxt"}
    assert "2/ranker.sm_90.plan" in files
    assert "3/ranker.sm_90.plan" in files
    assert rollback(shelf, KEY).release == releases[1][1].release
    assert "2/ranker.sm_90.plan" in installed(shelf)


def test_a_release_without_engines_for_a_gpu_that_is_served_is_refused(tmp_path: Path) -> None:
    shelf, [first, second] = a_shop(tmp_path, 1, 2)
    for capability in (HOPPER, AMPERE):
        engines_for(capability, *first)
    promote(first[1].release, shelf, KEY)
    with pytest.raises(ReleaseRejected, match=r"no engine of .*sm_80.*vitrine engines r0002"):
        promote(second[1].release, shelf, KEY)
    engines_for(HOPPER, *second)
    with pytest.raises(ReleaseRejected) as refused:
        promote(second[1].release, shelf, KEY)
    assert "sm_80" in str(refused.value)
    assert "sm_90" not in str(refused.value)
    assert current_release(shelf.releases_root) == first[1].release
    assert not any(name.startswith("2/") for name in installed(shelf))
    assert shelf.engines is not None
    daring = replace(shelf, engines=replace(shelf.engines, may_be_fewer=True))
    promote(second[1].release, daring, KEY)
    assert "2/ranker.sm_90.plan" in installed(shelf)
    assert "2/ranker.sm_80.plan" not in installed(shelf)


def test_a_shop_without_gpus_promotes_as_ever(tmp_path: Path) -> None:
    shelf, [(_, manifest)] = a_shop(tmp_path, 1)
    promote(manifest.release, shelf, KEY)
    assert installed(shelf) == {}


def test_the_engines_of_the_tensorrt_that_runs_them_are_chosen(tmp_path: Path) -> None:
    shelf, [(folder, manifest)] = a_shop(tmp_path, 1)
    for version in ("8.6.0", "10.13.2"):
        plan = version.encode()
        built = [an_engine(manifest, model, HOPPER, version, plan) for model in MODELS]
        put_engines(folder, manifest, KEY, built)
    assert shelf.engines is not None
    for wanted, plan in (("8.6", b"8.6.0"), ("", b"10.13.2"), ("10.13.2", b"10.13.2")):
        chosen = replace(shelf, engines=EngineShelf(shelf.engines.repository, wanted))
        promote(manifest.release, chosen, KEY)
        assert installed(shelf)["1/ranker.sm_90.plan"] == plan
    other = replace(shelf, engines=EngineShelf(shelf.engines.repository, "10.1"))
    with pytest.raises(ReleaseRejected, match=r"TensorRT 10\.1 "):
        promote(manifest.release, other, KEY)


@pytest.mark.parametrize("spoilt", ["file", "record", "graph", "another release's"])
def test_what_was_not_signed_for_this_release_is_never_installed(
    tmp_path: Path, spoilt: str
) -> None:
    shelf, [first, (folder, manifest)] = a_shop(tmp_path, 1, 2)
    engines_for(HOPPER, folder, manifest)
    path = folder / ENGINES / RECORD
    if spoilt == "file":
        (folder / ENGINES / "ranker.sm_90.trt10.13.2.fp16.plan").write_bytes(b"evil")
    elif spoilt == "record":
        path.write_text(path.read_text().replace('"fp16"', '"int8"'))
    elif spoilt == "graph":
        foreign = replace(an_engine(manifest, RANKER).entry, source_sha256="00")
        text = EngineRecord(manifest.release, 2, (foreign,)).signed(KEY).to_json()
        path.write_text(text)
    else:
        engines_for(HOPPER, *first)
        path.write_text((first[0] / ENGINES / RECORD).read_text())
    with pytest.raises(ReleaseRejected):
        promote(manifest.release, shelf, KEY)
    assert installed(shelf) == {}


def test_an_engine_built_again_takes_the_place_of_the_former(tmp_path: Path) -> None:
    _, [(folder, manifest)] = a_shop(tmp_path, 1)
    engines_for(HOPPER, folder, manifest)
    engines_for(AMPERE, folder, manifest)
    engines_for(HOPPER, folder, manifest, plan=b"better")
    record = read_engines(folder, manifest, KEY)
    assert len(record.engines) == 2 * len(MODELS)
    assert record.engine_for(RANKER, 1, HOPPER).size_bytes == len(b"better")


class Machine:
    """A GPU machine at its first start: what it is, what it builds, what it tells."""

    def __init__(self, folder: Path, manifest: Manifest, key: EngineKey | None) -> None:
        self.folder, self.manifest, self.key = folder, manifest, key
        self.built, self.said = 0, ""

    def here(self) -> EngineKey:
        if self.key is None:
            raise DependencyUnavailable("tensorrt", "not installed")
        return self.key

    def build(self) -> list[EngineEntry]:
        self.built += 1
        assert self.key is not None
        capability, version = self.key.compute_capability, self.key.tensorrt_version
        built = [an_engine(self.manifest, model, capability, version) for model in MODELS]
        put_engines(self.folder, self.manifest, KEY, built)
        return [each.entry for each in built]

    def say(self, line: str) -> None:
        self.said += f"{line}\n"

    def start(self) -> None:
        engines_at_start(
            self.folder, self.manifest, KEY, here=self.here, build=self.build, say=self.say
        )


def test_the_first_start_on_a_gpu_builds_its_engines_once_and_says_so(tmp_path: Path) -> None:
    shelf, [(folder, manifest)] = a_shop(tmp_path, 1)
    machine = Machine(folder, manifest, EngineKey("any", (7, 77), "99.1", "fp16"))
    machine.start()
    machine.start()
    assert machine.built == 1
    assert "no engines for sm_777, TensorRT 99.1: building them" in machine.said
    assert "has engines for sm_777" in machine.said
    promote(manifest.release, shelf, KEY)
    assert installed(shelf)["1/ranker.sm_777.plan"] == b"plan"
    machine.key = EngineKey("any", (7, 77), "99.2", "fp16")  # TensorRT was exchanged
    machine.start()
    assert machine.built == 2


def test_where_nothing_can_be_built_engines_from_elsewhere_are_kept(tmp_path: Path) -> None:
    _, [(folder, manifest)] = a_shop(tmp_path, 1)
    machine = Machine(folder, manifest, None)
    with pytest.raises(DependencyUnavailable, match="not installed"):
        machine.start()
    engines_for(HOPPER, folder, manifest)
    machine.start()
    assert "keeps the engines it has, ranker.sm_90" in machine.said
    assert machine.built == 0
