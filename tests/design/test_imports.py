"""Who may import whom. The table is the one in docs/architecture.md; this test keeps it."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("shop", "simulator", "training", "export", "serving", "insight", "loadtest", "vitrine")
PROTOS = "serving.proto"
FOREIGN_TO_THE_PIPELINES = (
    *("ray", "grpc", "tritonclient", "faiss", "vllm", "redis", "lmdb", "psycopg", "sqlite3"),
)

# package → what it never imports. A name covers its submodules.
NEVER: dict[str, tuple[str, ...]] = {
    "shop": (
        *(name for name in OURS if name != "shop"),
        *("ray", "grpc", "tritonclient", "torch", "faiss", "vllm", "redis"),
        *("asyncio", "logging", "time", "os", "pathlib", "socket"),
    ),
    "serving/recommend": (*FOREIGN_TO_THE_PIPELINES, "serving.adapters", PROTOS),
    "serving/assist": (*FOREIGN_TO_THE_PIPELINES, "serving.adapters", PROTOS),
    "serving/describe": (*FOREIGN_TO_THE_PIPELINES, "serving.adapters", PROTOS),
    # It speaks to the stack as any client does.
    "serving/console": (
        *("ray", "numpy", "faiss", "tritonclient", "redis", "lmdb", "serving.gateway"),
        *("serving.recommend", "serving.describe.pipeline", "serving.descriptions_service"),
    ),
    "serving/adapters": (
        *("ray", "serving.gateway", "serving.recommend.pipeline", "serving.describe.pipeline"),
    ),
    "serving": ("torch", "training", "export", "loadtest", "insight", "simulator"),
    "training": ("serving", "export"),
    "insight": ("serving", "export"),
    "simulator": ("serving", "training", "export"),
}


def _files(package: str) -> list[Path]:
    return [path for path in (ROOT / package).rglob("*.py") if "_pb2" not in path.name]


@cache  # most files are in two rows of the table
def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _covers(banned: str, name: str) -> bool:
    return name == banned or name.startswith(f"{banned}.")


def _violations(package: str, banned: tuple[str, ...], files: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in sorted(_imports(path))
        for ban in banned
        if _covers(ban, name)
        and not (package == "simulator" and _covers(PROTOS, name))
        # `from serving.proto import x` also reads as an import of `serving` itself
        and not (package == "simulator" and name == "serving")
    ]


@pytest.mark.parametrize("package", sorted(NEVER))
def test_package_imports_only_what_it_may(package: str) -> None:
    assert _violations(package, NEVER[package], _files(package)) == []


def test_the_check_sees_a_forbidden_import(tmp_path: Path) -> None:
    bad = ROOT / "shop" / "errors.py"
    assert "shop.errors" not in _imports(bad)
    planted = tmp_path / "planted.py"
    planted.write_text("def late():\n    from torch import nn\n    import time\n")
    assert {"torch", "torch.nn", "time"} <= _imports(planted)


def test_there_is_something_to_check() -> None:
    for package in ("shop", "serving", "serving/recommend", "serving/adapters", "training"):
        assert _files(package), f"{package} holds no Python files; the table is out of date"


def test_no_file_reads_the_environment_but_settings() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in _files("serving") + _files("shop")
        if {"os.environ", "os.getenv"} & _attributes(path)
    }
    allowed = {
        "serving/settings_reader.py",
        "serving/app.py",
        "serving/writer_app.py",
        "serving/triton/runtime.py",
        "serving/triton/backends/onnxruntime/model.py",  # Triton's process, not ours: no other way
        "serving/triton/backends/tensorrt/model.py",
    }
    assert readers <= allowed, f"only settings read the environment: {sorted(readers - allowed)}"


def _attributes(path: Path) -> set[str]:
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
