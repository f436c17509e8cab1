"""Values in Drill's SQL, quoted by their types: Drill's REST API takes no parameters."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

#: What is not looked into for placeholders, then a placeholder. A text or a name that is not closed reaches to the end.
_TOKENS = re.compile(
    r"""(?P<skip>'(?:[^']|'')*(?:'|\Z)|"(?:[^"]|"")*(?:"|\Z)|`(?:[^`]|``)*(?:`|\Z)|(?:--|//)[^\r\n]*|/\*.*?(?:\*/|\Z))"""
    r"""|(?<![:\w]):(?P<name>[A-Za-z_]\w*)""",
    re.DOTALL,
)


def bind(sql: str, parameters: Mapping[str, Any] | None) -> str:
    """Return ``sql`` with each ``:name`` outside of texts, names and comments replaced by its value.

    :raises AirflowFailException: if a name has no value, a value is not used or has no exact form in SQL.
    """
    values = dict(parameters or {})
    used: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return match[0]
        if name not in values:
            raise AirflowFailException(f"the statement has :{name}, and parameters have no {name!r}")
        used.add(name)
        return literal(values[name])

    bound = _TOKENS.sub(replace, sql)
    if unused := values.keys() - used:
        raise AirflowFailException(f"the statement does not use the parameters {', '.join(sorted(unused))}")
    return bound


def literal(value: Any) -> str:
    """Return a value as Drill reads it back exactly.

    None, bool, int, float, Decimal, str, datetime (as UTC), date and time; a list, tuple or set becomes ``(a, b)`` for IN.

    :raises AirflowFailException: for other types, floats that are no numbers, integers beyond 64 bits, and empty lists.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise AirflowFailException(f"{value} has no form in SQL")
        return f"CAST('{value!r}' AS DOUBLE)"
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, str):
        if "\0" in value:
            raise AirflowFailException("a text with a zero character has no form in SQL")
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (datetime, date, time)):
        return _moment(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        if not value:
            raise AirflowFailException("an empty list has no form in SQL: leave out the condition")
        return "(" + ", ".join(literal(element) for element in value) + ")"
    raise AirflowFailException(f"a {type(value).__name__} has no form in SQL: give a text, a number, a time or a list of these")


def _integer(value: int) -> str:
    if not -(2**63) <= value < 2**63:
        raise AirflowFailException(f"{value} is beyond 64 bits: give it as a Decimal")
    if value >= 0:
        return str(value)
    # In parentheses, since behind a minus sign a second one would begin a comment. The least number has no form of its
    # own: it would be the negative of one that is too large.
    return f"({value})" if value > -(2**63) else f"({value + 1} - 1)"


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise AirflowFailException(f"{value} has no form in SQL")
    text = format(value, "f")
    whole, _, fraction = text.lstrip("-").partition(".")
    precision = max(1, len(whole.lstrip("0")) + len(fraction))
    if precision > 38:
        raise AirflowFailException(f"{text} has {precision} digits, and Drill's decimals 38")
    return f"CAST('{text}' AS DECIMAL({precision}, {len(fraction)}))"


def _moment(value: datetime | date | time) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(timezone.utc).replace(tzinfo=None)
        return f"TIMESTAMP '{value.isoformat(sep=' ', timespec='milliseconds')}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if value.tzinfo is not None:
        raise AirflowFailException("a time of day with a zone has no form in SQL: give a datetime")
    return f"TIME '{value.isoformat(timespec='milliseconds')}'"
