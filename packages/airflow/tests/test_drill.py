"""The operator for Drill, against a real Drillbit."""

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from airflow.sdk.exceptions import AirflowFailException
from real import free_port

from airflow_provider_headwater.errors import DrillFailed, DrillUnavailable
from airflow_provider_headwater.operators import DrillQueryOperator


@pytest.fixture
def ask(drill, connect):
    connect("drill", drill.url)

    def run(sql, parameters=None, **options):
        operator = DrillQueryOperator(task_id="ask", sql=sql, parameters=parameters, drill_conn_id="drill", **options)
        return operator.execute({})

    return run


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (0.1, 0.1),
        (-1.5e-300, -1.5e-300),
        (Decimal("-12.340"), -12.34),
        ("Łódź 'quoted' \\ \" ` ; -- :no /* 🦊", "Łódź 'quoted' \\ \" ` ; -- :no /* 🦊"),
        ("", ""),
        ("line\nbreak\ttab", "line\nbreak\ttab"),
        (datetime(2026, 1, 2, 3, 4, 5, 678000, timezone(timedelta(hours=1))), 1767319445678),
    ],
)
def test_drill_reads_back_what_was_given(ask, value, back):
    assert ask("SELECT :v AS v FROM (VALUES (1))", {"v": value}) == [{"v": back}]


def test_drill_reads_dates_nulls_and_lists(ask):
    parameters = {"d": datetime(2026, 11, 3).date(), "n": None, "in": ["a", "it's"]}
    sql = "SELECT CAST(:d AS VARCHAR) AS d, 1 AS o FROM (VALUES ('it''s')) AS t(x) WHERE x IN :in AND CAST(:n AS INT) IS NULL"
    assert ask(sql, parameters) == [{"d": "2026-11-03", "o": 1}]


@pytest.mark.parametrize(
    ("sql", "parameters", "rows"),
    [
        (
            "SELECT 0-:n AS x FROM (VALUES (1)) AS t(y)\nWHERE 'a' <> :text",
            {"n": -9, "text": "z\nUNION ALL SELECT 42 AS x FROM (VALUES (1)) --"},
            [{"x": 9}],
        ),
        (
            "SELECT 1 AS x // asked by :who\nFROM (VALUES (1)) AS t(y) WHERE 'a' <> :text",
            {"text": "z"},
            [{"x": 1}],
        ),
    ],
    ids=["negative", "comment"],
)
def test_values_never_become_sql(ask, sql, parameters, rows):
    assert ask(sql, parameters) == rows


def test_rows_go_into_a_file(ask, tmp_path):
    path = tmp_path / "rows.jsonl"
    sql = "SELECT x FROM (VALUES (1), (2), (3)) AS t(x) WHERE x > :least ORDER BY x;"
    told = ask(sql, {"least": 1}, path=str(path), transform=lambda row: {"key": str(row["x"]), "value": row})
    assert told == {"path": str(path), "rows": 2}
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"key": "2", "value": {"x": 2}},
        {"key": "3", "value": {"x": 3}},
    ]


def test_too_many_rows_for_an_xcom_are_refused(ask):
    with pytest.raises(AirflowFailException, match="give a path"):
        ask("SELECT x FROM (VALUES (1), (2)) AS t(x)", max_rows=1)


def test_what_drill_refuses_fails_at_once_with_its_words(ask):
    with pytest.raises(DrillFailed, match="nowhere"):
        ask("SELECT * FROM nowhere.at_all")


def test_a_query_that_breaks_off_fails(ask):
    with pytest.raises(DrillFailed):
        ask("SELECT CAST(x AS INT) AS n FROM (VALUES ('1'), ('no')) AS t(x)")


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_drill_that_is_busy_can_be_tried_again(scripted, connect, status):
    connect("busy", scripted.url)
    scripted.then(status, b"<html>busy</html>")
    with pytest.raises(DrillUnavailable, match=f"{status}: <html>busy"):
        DrillQueryOperator(task_id="ask", sql="SELECT 1", drill_conn_id="busy").execute({})


def test_a_login_is_sent(scripted, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_DRILL", scripted.url.replace("http://", "http://ada:secret@"))
    scripted.then(200, {"queryState": "COMPLETED", "rows": []})
    assert DrillQueryOperator(task_id="ask", sql="SELECT 1", drill_conn_id="drill").execute({}) == []
    [(_, _, headers, _)] = scripted.requests
    assert headers["Authorization"] == "Basic YWRhOnNlY3JldA=="


def test_a_drill_that_is_away_can_be_tried_again(connect):
    connect("away", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(DrillUnavailable, match="cannot be reached"):
        DrillQueryOperator(task_id="ask", sql="SELECT 1", drill_conn_id="away").execute({})
