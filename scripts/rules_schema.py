"""Write docs/rules.schema.json from the tables that the rule book's reader goes by.

python scripts/rules_schema.py            writes it
python scripts/rules_schema.py --check    exit code 1 if it is out of date
"""

import argparse
import json
import sys
from pathlib import Path

from shop.rulebook_fields import json_schema

FILE = Path(__file__).resolve().parent.parent / "docs" / "rules.schema.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether it is out of date")
    check_only = parser.parse_args().check
    text = rendered()
    if check_only:
        return 0 if FILE.exists() and FILE.read_text() == text else 1
    FILE.write_text(text)
    return 0


def rendered() -> str:
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
