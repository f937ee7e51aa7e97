"""Profile: whether this machine can do what was asked for, said before anything is started."""

from pathlib import Path

from serving.settings import Settings, TritonSettings
from shop.errors import SettingsRejected

_DEVICES = Path("/dev")


def visible_gpus(devices: Path = _DEVICES) -> list[str]:
    """Device files of NVIDIA GPUs, by name."""
    return sorted(path.name for path in devices.glob("nvidia[0-9]*"))


def check_profile(
    profile: str, settings: Settings, devices: Path = _DEVICES, *, faiss_has_gpu: bool
) -> None:
    """Raises SettingsRejected, naming all that is missing, if `profile` cannot be served here."""
    if profile == "cpu":
        return
    missing = []
    if not visible_gpus(devices):
        missing.append("no NVIDIA GPU is visible on this machine; use --profile cpu")
    if not faiss_has_gpu:
        missing.append("the installed faiss has no GPU form: put faiss-gpu in place of faiss-cpu")
    if settings.triton == TritonSettings():
        missing.append(
            "the server that comes with Vitrine runs no engines: start a Triton with TensorRT on"
            " the state folder's engines/ (which promotion fills) and name its HTTP port,"
            " VITRINE_TRITON__ADDRESS=127.0.0.1:8100"
        )
    if missing:
        raise SettingsRejected("--profile gpu: " + "; ".join(missing))


def faiss_has_gpu() -> bool:
    """Whether the installed FAISS was built for GPUs."""
    import faiss  # a fifth of a second that nobody pays who does not ask

    return hasattr(faiss, "StandardGpuResources")
