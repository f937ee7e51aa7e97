"""Profile: whether this machine can do what was asked for, said before anything is started."""

from pathlib import Path

from shop.errors import SettingsRejected

_DEVICES = Path("/dev")


def check_profile(profile: str, devices: Path = _DEVICES) -> None:
    """Raises SettingsRejected, saying what is missing, if `profile` cannot be served here."""
    if profile == "cpu":
        return
    if not any(devices.glob("nvidia[0-9]*")):
        raise SettingsRejected(
            "--profile gpu: no NVIDIA GPU is visible on this machine; use --profile cpu"
        )
    raise SettingsRejected(
        "--profile gpu: this version has no GPU engines yet; use --profile cpu on this machine"
    )
