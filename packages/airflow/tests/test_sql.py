"""Parameters in SQL; that Drill reads them back is in test_drill.py."""

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_headwater.sql import bind, literal


def test_only_placeholders_are_replaced():
    sql = """SELECT ':a', ":a", `:a`, 'it''s :a', x::a -- :a
    /* :a */ FROM t WHERE b = :a AND c IN :list"""
    bound = bind(sql, {"a": "v", "list": [1, 2]})
    assert bound == sql.replace("b = :a", "b = 'v'").replace(":list", "(1, 2)")


def test_a_value_cannot_leave_its_place():
    evil = "'; DROP TABLE t; -- :b /* ` \" \\' "
    assert bind("x = :a AND y = :b", {"a": evil, "b": 1}) == f"x = '{evil.replace(chr(39), chr(39) * 2)}' AND y = 1"


def test_a_negative_number_begins_no_comment():
    assert bind("WHERE x = 0-:n AND y", {"n": -9}) == "WHERE x = 0-(-9) AND y"


@pytest.mark.parametrize("comment", ["-- by :who", "// by :who", "-- :who // :who", "/* :who */"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_comments_are_what_drill_takes_for_them(comment, end):
    assert bind(f"SELECT 1 {comment}{end} + :n", {"n": 2}) == f"SELECT 1 {comment}{end} + 2"


@pytest.mark.parametrize("sql", ["SELECT 'open :a", "SELECT `open :a", 'SELECT "open :a', "SELECT 1 /* open :a"])
def test_what_is_not_closed_reaches_to_the_end(sql):
    assert bind(sql, {}) == sql


def test_too_many_and_too_few_parameters_are_told():
    with pytest.raises(AirflowFailException, match="no 'b'"):
        bind(":a :b", {"a": 1})
    with pytest.raises(AirflowFailException, match="does not use the parameters c"):
        bind(":a", {"a": 1, "c": 1})


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (-5, "(-5)"),
        (2**63 - 1, "9223372036854775807"),
        (Decimal("-0012.340"), "CAST('-12.340' AS DECIMAL(5, 3))"),
        (Decimal("0.05"), "CAST('0.05' AS DECIMAL(2, 2))"),
        (Decimal("1E+3"), "CAST('1000' AS DECIMAL(4, 0))"),
        (date(2026, 11, 3), "DATE '2026-11-03'"),
        (time(1, 2, 3), "TIME '01:02:03.000'"),
        (datetime(2026, 1, 2, 3, 4, 5, 678000), "TIMESTAMP '2026-01-02 03:04:05.678'"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "TIMESTAMP '2026-01-02 01:00:00.000'"),
    ],
)
def test_literals(value, sql):
    assert literal(value) == sql


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**63, b"x", {}, object(), [], "a\0b", Decimal("NaN"), Decimal(10) ** 40]
)
def test_what_has_no_exact_form_is_refused(value):
    with pytest.raises(AirflowFailException):
        literal(value)
