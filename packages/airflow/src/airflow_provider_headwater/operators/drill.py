"""Questions to Apache Drill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_headwater import pages, sql
from airflow_provider_headwater.errors import DrillFailed, DrillUnavailable

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

#: Drill's words where the type of a column changed between the two times that it read the table to plan.
_TORN_PLAN = "failed to preserve datatypes"
#: The answers that can be others a moment later. What Drill refuses is a 500.
_PASSING = frozenset({408, 425, 429, 502, 503, 504})
#: How often a statement is planned at most.
_PLANS = 3


class DrillQueryOperator(BaseOperator):
    """Ask Drill with SQL and parameters, which are quoted by their types.

    ``:name`` in the statement stands for ``parameters["name"]``, outside of texts, quoted names and comments. Only
    parameters are safe for what comes from elsewhere; a template in ``sql`` is put in as it is.

    With ``path`` the rows go into a file, one JSON object a line, and the XCom is ``{"path": p, "rows": n}``; without
    it the XCom is the list of rows, at most ``max_rows``. Values are as Drill's REST API has them: timestamps are
    milliseconds since 1970, and decimals are numbers; cast what has to stay exact to VARCHAR.

    :param sql: the statement. (templated, also from a .sql file)
    :param parameters: values by name: None, bool, int, float, Decimal, str, datetime, date, time, or lists of these for
        ``IN :name``. (templated)
    :param path: the file for the rows. (templated)
    :param max_rows: the most rows without ``path``; more are an error, as XComs are kept in Airflow's database.
    :param transform: makes of each row what is kept of it, such as ``{"key": …, "value": …}`` for a push.
    :param timeout: seconds that Drill may take.
    :param drill_conn_id: a connection with the host and port of a Drillbit's web server, of any type. A login is sent as
        HTTP Basic authentication. (templated)
    """

    template_fields: Sequence[str] = ("sql", "parameters", "path", "drill_conn_id")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql", "parameters": "json"}  # noqa: RUF012 (as in Airflow)
    ui_color = "#e3d7f0"

    def __init__(
        self,
        *,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        path: str | None = None,
        max_rows: int = 1_000,
        transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        timeout: float = 600,
        drill_conn_id: str = "drill_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.parameters = parameters
        self.path = path
        self.max_rows = max_rows
        self.transform = transform
        self.timeout = timeout
        self.drill_conn_id = drill_conn_id

    def execute(self, context: Context) -> Any:
        """Ask, and keep the rows."""
        rows = query(BaseHook.get_connection(self.drill_conn_id), sql.bind(self.sql, self.parameters), timeout=self.timeout)
        if self.path is None and len(rows) > self.max_rows:
            raise AirflowFailException(f"the answer has {len(rows)} rows, and max_rows is {self.max_rows}: give a path")
        kept = [self.transform(row) for row in rows] if self.transform else rows
        if self.path is None:
            return kept
        return {"path": self.path, "rows": pages.write(Path(self.path), kept)}


def query(connection: Connection, statement: str, *, timeout: float = 600) -> list[dict[str, Any]]:
    """Run one statement and return its rows, by column.

    :raises DrillFailed: with Drill's words, if it refuses or breaks off.
    :raises DrillUnavailable: if it cannot be reached, or not now.
    """
    url = f"{_address(connection)}/query.json"
    body = {"queryType": "SQL", "query": statement.strip().rstrip(";")}
    for attempt in range(1, _PLANS + 1):
        try:
            response = httpx.post(url, json=body, timeout=timeout, auth=_login(connection))
        except httpx.TransportError as error:
            raise DrillUnavailable(f"Drill at {url} cannot be reached: {error or type(error).__name__}") from error
        failure = _failure(response)
        if response.status_code in _PASSING:
            raise DrillUnavailable(f"Drill at {url} answered {failure}")
        if failure is None:
            return response.json().get("rows", [])
        if _TORN_PLAN not in failure or attempt == _PLANS:
            raise DrillFailed(f"Drill refused the statement: {failure}")
    raise AssertionError("the last attempt returns or raises")


def _address(connection: Connection) -> str:
    host = (connection.host or "127.0.0.1").rstrip("/")
    if "://" in host:
        return f"{host}:{connection.port}" if connection.port else host
    return f"http://{host}:{connection.port or 8047}"


def _login(connection: Connection) -> tuple[str, str] | None:
    return (connection.login, connection.password or "") if connection.login else None


def _failure(response: httpx.Response) -> str | None:
    """Drill's words for what went wrong, also where it broke off in the middle of an answer of success."""
    try:
        answer = response.json()
    except ValueError:
        return f"{response.status_code}: {' '.join(response.text.split())[:500]}"
    if response.is_success and answer.get("queryState", "COMPLETED") == "COMPLETED" and "errorMessage" not in answer:
        return None
    return str(answer.get("errorMessage") or answer.get("queryState") or response.status_code)
