"""What Ray is given when it builds the application of a cluster."""

from pathlib import Path

import pytest

from serving.cluster_app import build


@pytest.mark.filterwarnings("ignore")  # of Ray's own use of pydantic, when it is imported
def test_what_ray_keeps_of_the_settings_is_a_path(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'state_dir = "/var/lib/vitrine"\n[redis]\nurl = "redis://:hunter2@redis:6379/0"\n'
    )
    deployment = build({"settings": str(file)})._bound_deployment
    assert deployment.name == "gateway"
    assert deployment.init_args == (str(file),)
    assert deployment.init_kwargs == {}
