"""The connection to a Headwater server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_headwater import calls
from airflow_provider_headwater.client import AsyncClient, Client, Server
from airflow_provider_headwater.provider_info import get_provider_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow.sdk import Connection


class HeadwaterHook(BaseHook):
    """Talks to the server of a connection of the type ``headwater``.

    The connection's host is the server's URL and its password the token. Its extra can have ``ca_file`` (a PEM file),
    ``timeout`` (seconds that an answer may take) and ``attempts`` (how often a call is sent at most).

    :param headwater_conn_id: the connection.
    """

    conn_name_attr = "headwater_conn_id"
    default_conn_name = "headwater_default"
    conn_type = "headwater"
    hook_name = "Headwater"

    def __init__(self, headwater_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.headwater_conn_id = headwater_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the form of a connection shows."""
        [kind] = get_provider_info()["connection-types"]
        return {name.replace("-", "_"): shown for name, shown in kind["ui-field-behaviour"].items()}

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open a client, closed at the end of the ``with`` block."""
        with Client(server_of(self.get_connection(self.headwater_conn_id))) as client:
            yield client

    @asynccontextmanager
    async def async_client(self) -> AsyncIterator[AsyncClient]:
        """Open an asynchronous client, closed at the end of the ``async with`` block."""
        async with AsyncClient(server_of(await self.aget_connection(self.headwater_conn_id))) as client:
            yield client

    def run(self, call: calls.Call) -> Any:
        """Send one call on a connection of its own and return the answer's JSON."""
        with self.client() as client:
            return client.run(call)

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the server is well and takes the token; behind the Test button."""
        try:
            server = server_of(self.get_connection(self.headwater_conn_id))
            with Client(Server(server.url, server.token, server.ca_file, timeout=10, attempts=1)) as client:
                client.run(calls.ready())
                seen = client.run(calls.databases())["databases"]
        except Exception as error:
            return False, str(error)
        return True, f"The server works and takes the token, which sees {len(seen)} databases."


def server_of(connection: Connection) -> Server:
    """Return the server that a connection describes.

    :raises AirflowFailException: if it describes none.
    """
    host = (connection.host or "").rstrip("/")
    if not host:
        raise AirflowFailException(
            f"the connection {connection.conn_id!r} has no server: write its URL into the host, such as http://127.0.0.1:3030"
        )
    if "://" not in host:
        host = f"{connection.schema or 'http'}://{host}"
    if connection.port:
        host = f"{host}:{connection.port}"
    extra = connection.extra_dejson
    try:
        timeout = float(extra.get("timeout") or Server.timeout)
        attempts = int(extra.get("attempts") or Server.attempts)
    except (TypeError, ValueError) as error:
        raise AirflowFailException(
            f"the extra of the connection {connection.conn_id!r} is wrong: {error}; timeout and attempts are numbers"
        ) from error
    return Server(
        url=host,
        token=connection.password or None,
        ca_file=extra.get("ca_file") or None,
        timeout=timeout,
        attempts=attempts,
    )
