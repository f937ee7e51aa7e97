"""Commands: every `python -m …` of a container is a module of ours with those very arguments."""

import importlib
import importlib.util
import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout

from k8s.checks.cluster import Cluster, Finding

_STARTS = re.compile(r"python3? -m (\S+)(.*)")


def check_commands(cluster: Cluster) -> Iterator[Finding]:
    """Commands of containers, and of the scripts that ConfigMaps bring."""
    for pods in cluster.pods:
        for container in pods.all_containers:
            words = [*container.get("command", ()), *container.get("args", ())]
            text = words[-1] if words[:1] in (["sh"], ["bash"]) else shlex.join(words)
            yield from _judged(f"{pods.owner} {container['name']}", text)
    for config in cluster.of("ConfigMap"):
        for name, text in config.get("data", {}).items():
            if name.endswith(".sh"):
                joined = text.replace("\\\n", " ")
                yield from _judged(f"ConfigMap/{config['metadata']['name']} {name}", joined)


def _judged(at: str, text: str) -> Iterator[Finding]:
    for line in text.splitlines():
        for module, rest in _STARTS.findall(line):
            if importlib.util.find_spec(module.split(".")[0]) is None or not _exists(module):
                yield Finding("module", at, f"there is no module {module}")
                continue
            fault = _fault(module, _arguments(rest))
            if fault:
                yield Finding("arguments", at, f"python -m {module}: {fault}")


def _arguments(rest: str) -> list[str]:
    """Up to a pipe or a `;`; what the shell would put in stands for itself."""
    words = shlex.split(re.split(r"\s[|;]|;|\)$", rest)[0].rstrip("|) "))
    return [word for word in words if word]


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _is_folder(module: str) -> bool:
    found = importlib.util.find_spec(module)
    return found is not None and found.submodule_search_locations is not None


def _fault(module: str, words: list[str]) -> str:
    """What the module's own parser says against the words; "" if nothing."""
    loaded = importlib.import_module(f"{module}.__main__" if _is_folder(module) else module)
    make = getattr(loaded, "_parser", None)
    if make is None:
        return "it has no parser to ask"
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(said):
            (make(words) if module == "vitrine" else make()).parse_args(
                [_stand_in(word) for word in words]
            )
    except SystemExit as end:
        return "" if end.code == 0 else said.getvalue().strip().splitlines()[-1]
    return ""


def _stand_in(word: str) -> str:
    return {"$SOURCE": "online-retail"}.get(word, word)
