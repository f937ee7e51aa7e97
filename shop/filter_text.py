"""Filter text: a filter's tree written in its grammar again, so that people and caches can read it.

`parse` of the text means the same as the tree.
"""

from shop.filter_grammar import AllOf, AnyOf, Expression, InStock, Not, OneOf, PriceIs

_MINOR_PER_MAJOR = 100


def as_text(expression: Expression) -> str:
    """e.g. `category = "lamps" AND price < 50`."""
    match expression:
        case OneOf(attribute, (value,)):
            return f"{attribute} = {_quoted(value)}"
        case OneOf(attribute, values):
            return f"{attribute} IN ({', '.join(map(_quoted, values))})"
        case PriceIs(comparator, amount_minor):
            return f"price {comparator} {_amount(amount_minor)}"
        case InStock():
            return "in_stock"
        case Not(part):
            return f"NOT {_enclosed(part)}"
        case AllOf(parts):
            return " AND ".join(_enclosed(part) for part in parts)
        case AnyOf(parts):
            return " OR ".join(_enclosed(part) for part in parts)


def _enclosed(part: Expression) -> str:
    text = as_text(part)
    return f"({text})" if isinstance(part, AllOf | AnyOf) else text


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _amount(amount_minor: float) -> str:
    text = f"{amount_minor / _MINOR_PER_MAJOR:.6f}".rstrip("0")
    return text.rstrip(".")
