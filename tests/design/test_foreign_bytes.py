"""Nothing of ours makes objects out of foreign bytes: no pickle, no loader that unpickles."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("shop", "simulator", "training", "export", "serving", "insight", "loadtest")
# Modules whose loading runs what the bytes say.
FORBIDDEN = (
    "pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "marshal",
    "shelve",
    "joblib",
    "jsonpickle",
)
_FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def violations(source: str) -> list[str]:
    """What of it could run foreign bytes, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        told = _of_import(node) or (_of_call(node) if isinstance(node, ast.Call) else None)
        if told:
            found.append(f"line {getattr(node, 'lineno', 0)}: {told}")
    return found


def _of_import(node: ast.AST) -> str | None:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    for name in names:
        if name.partition(".")[0] in FORBIDDEN or name == "multiprocessing.connection":
            return f"imports {name}"
    return None


def _of_call(node: ast.Call) -> str | None:
    name = ast.unparse(node.func)
    given = {each.arg: each.value for each in node.keywords}
    if name in _FORBIDDEN_CALLS:
        return f"calls {name}"
    if name == "torch.load" and not _is(given.get("weights_only"), True):
        return "torch.load without weights_only=True"
    if name.rpartition(".")[2] == "load" and not _is(given.get("allow_pickle", _FALSE), False):
        return "allow_pickle"
    if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"):
        return f"{name}: use yaml.safe_load"
    if name.endswith(("read_pickle", ".load_pickle")):
        return f"calls {name}"
    if _is(given.get("shell"), True):
        return "shell=True"
    return None


_FALSE = ast.Constant(False)


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("package", [each for each in SHIPPED if (ROOT / each).is_dir()])
def test_no_shipped_module_unpickles(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)} {told}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if "_pb2" not in path.name
        for told in violations(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "from ray import cloudpickle\nimport cloudpickle",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=maybe)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import pandas\npandas.read_pickle('x')",
        "eval(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
    ],
)
def test_what_unpickles_is_found(source: str) -> None:
    assert violations(source)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x', weights_only=True)",
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "import json\njson.load(stream)",
        "import re\nre.compile('x')",
    ],
)
def test_what_does_not_is_let_be(source: str) -> None:
    assert violations(source) == []
