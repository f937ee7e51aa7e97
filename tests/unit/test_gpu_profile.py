"""What `--profile gpu` asks of a machine, and of Ray."""

from dataclasses import replace
from pathlib import Path

import pytest

from serving.deployments import replica_resources
from serving.settings import GpuSettings, Settings, TritonSettings
from serving.settings_reader import load_settings
from serving.stack.profile import check_profile, visible_gpus
from shop.errors import SettingsRejected

ELSEWHERE = replace(Settings(), triton=TritonSettings("127.0.0.1:8100"))


def devices(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsRejected) as rejected:
        check_profile("gpu", Settings(), devices(tmp_path, "nvidiactl"), faiss_has_gpu=False)
    for missing in ("--profile gpu:", "no NVIDIA GPU", "faiss-gpu", "VITRINE_TRITON__ADDRESS"):
        assert missing in str(rejected.value)


def test_a_machine_with_everything_is_taken(tmp_path: Path) -> None:
    folder = devices(tmp_path, "nvidia0", "nvidia1", "nvidia-uvm")
    check_profile("gpu", ELSEWHERE, folder, faiss_has_gpu=True)
    assert visible_gpus(folder) == ["nvidia0", "nvidia1"]


def test_the_cpu_profile_asks_for_nothing(tmp_path: Path) -> None:
    check_profile("cpu", Settings(), tmp_path, faiss_has_gpu=False)


def test_replicas_take_a_share_of_a_gpu_only_where_their_index_lies_there() -> None:
    assert replica_resources(Settings()) == {"num_cpus": 1}
    on_gpu = load_settings(None, {"VITRINE_GPU__INDEX": "gpu", "VITRINE_GPU__SHARE": "0.5"})
    assert replica_resources(on_gpu) == {"num_cpus": 1, "num_gpus": 0.5}


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.5}, {"max_batch": 0}])
def test_settings_that_no_gpu_can_serve_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GpuSettings(**wrong)  # type: ignore[arg-type]
