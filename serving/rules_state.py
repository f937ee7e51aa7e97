"""Rules state: what the replicas of a stack tell of their rule book, in the state folder.

All replicas look at one file, so the last one to tell says it for all.
"""

import json
from dataclasses import dataclass
from pathlib import Path


def rules_state_file(state_dir: Path) -> Path:
    """Where it is told."""
    return state_dir / "run" / "rules.json"


@dataclass(frozen=True, slots=True)
class RulesState:
    """What `vitrine status` tells of the rule book."""

    file: str
    version: str  # in force; "" = no rules
    rules: int
    since_ms: int
    faults: tuple[str, ...]  # of the file as it is now; it is not in force, if there are any
    notes: tuple[str, ...]  # what the current release does not know

    @staticmethod
    def read(path: Path) -> "RulesState | None":
        """None if no replica has told of its rules here."""
        try:
            raw = json.loads(path.read_text())
            lists = {name: tuple(raw[name]) for name in ("faults", "notes")}
            return RulesState(**(raw | lists))
        except (OSError, ValueError, KeyError, TypeError):
            return None
