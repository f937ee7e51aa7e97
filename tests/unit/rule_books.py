"""Rule books for tests, written as a merchandiser writes them."""

from serving.adapters.rule_files import zone_named
from serving.recommend.rules import FittedBook
from shop.catalogue import Catalogue
from shop.compiled_rules import compile_book
from shop.rulebook import RuleBook
from shop.rulebook_reader import read_rulebook
from tests.unit.small_shop import SmallShop

HEAD = 'schema = 1\nversion = "v1"\n'


def toml_of(*rules: str) -> str:
    """A book of these rules; each is the inside of a table, without an id if it needs none."""
    tables = []
    for number, rule in enumerate(rules, start=1):
        name = "" if rule.lstrip().startswith("id ") else f'id = "r{number}"\n'
        tables.append(f"[[rules]]\n{name}{rule}\n")
    return HEAD + "\n".join(tables)


def a_book(*rules: str) -> RuleBook:
    """The same, read."""
    return read_rulebook(toml_of(*rules).encode(), file="rules.toml", zone_named=zone_named)


def a_fitted(catalogue: Catalogue, *rules: str) -> FittedBook:
    """The same, for a catalogue."""
    return FittedBook(compile_book(a_book(*rules), catalogue))


def enforce(shop: SmallShop, *rules: str) -> None:
    """The shop's calls go by these rules from now on."""
    shop.deps.rules.enforce(a_fitted(shop.deps.release.tables.catalogue, *rules))
