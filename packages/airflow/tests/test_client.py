"""What the clients make of the failures of HTTP."""

import email.utils
import socket
import time

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_headwater import calls, client
from airflow_provider_headwater.client import AsyncClient, Client, Server
from airflow_provider_headwater.errors import CursorExpired, HeadwaterRefused, HeadwaterUnavailable


@pytest.fixture
def pauses(monkeypatch):
    """Pauses are noted instead of made."""
    noted = []

    async def pause(seconds):
        noted.append(seconds)

    monkeypatch.setattr(client.time, "sleep", noted.append)
    monkeypatch.setattr(client.asyncio, "sleep", pause)
    return noted


async def run_both(scripted, call, **options):
    """The answers of both clients; the script must be lined up twice."""
    server = Server(scripted.url, token="secret", **options)
    results = []
    with Client(server) as one:
        results.append(_caught(lambda: one.run(call)))
    async with AsyncClient(server) as other:
        try:
            results.append(await other.run(call))
        except Exception as error:
            results.append(error)
    return results


def _caught(run):
    try:
        return run()
    except Exception as error:
        return error


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 507])
async def test_what_can_pass_is_tried_again(scripted, pauses, status):
    for _ in range(2):
        scripted.refuse(status).then(None).then(200, {"databases": []})
    assert await run_both(scripted, calls.databases()) == [{"databases": []}] * 2
    assert len(scripted.requests) == 6
    assert len(pauses) == 4
    assert all(headers["Authorization"] == "Bearer secret" for _, _, headers, _ in scripted.requests)


async def test_the_server_is_left_alone_as_long_as_it_asks_for(scripted, pauses):
    in_twenty_seconds = email.utils.formatdate(time.time() + 20, usegmt=True)
    for _ in range(2):
        scripted.refuse(429, Retry_After="7").refuse(503, Retry_After=in_twenty_seconds).then(200)
    await run_both(scripted, calls.health())
    assert pauses[0] == pauses[2] == 7
    assert 18 < pauses[1] <= 20
    assert 18 < pauses[3] <= 20


async def test_a_long_wait_is_left_to_airflow(scripted, pauses):
    for _ in range(2):
        scripted.refuse(503, message="the disk is full", Retry_After="600")
    for error in await run_both(scripted, calls.health()):
        assert isinstance(error, HeadwaterUnavailable)
        assert not isinstance(error, AirflowFailException)
        assert "the disk is full" in str(error)
        assert "600 s" in str(error)
    assert pauses == []


async def test_trying_ends(scripted, pauses):
    for _ in range(8):
        scripted.refuse(503)
    for error in await run_both(scripted, calls.health()):
        assert isinstance(error, HeadwaterUnavailable)
    assert len(scripted.requests) == 8


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 422])
async def test_what_cannot_pass_fails_at_once(scripted, pauses, status):
    for _ in range(2):
        scripted.refuse(status, "a-code", "do this instead", {"n": 1})
    for error in await run_both(scripted, calls.health()):
        assert isinstance(error, AirflowFailException)
        assert isinstance(error, HeadwaterRefused)
        assert (error.status, error.code, error.details) == (status, "a-code", {"n": 1})
        assert "do this instead" in str(error)
    assert len(scripted.requests) == 2


async def test_an_expired_cursor_says_where_to_go_on(scripted):
    for _ in range(2):
        scripted.refuse(410, "cursor-expired", details={"oldest": "a", "head": "b"})
    for error in await run_both(scripted, calls.changes("db", cursor="x")):
        assert isinstance(error, CursorExpired)
        assert error.details == {"oldest": "a", "head": "b"}


async def test_what_is_no_headwater_is_told(scripted):
    for _ in range(2):
        scripted.then(200, b"<html>hello</html>")
    for error in await run_both(scripted, calls.health()):
        assert isinstance(error, HeadwaterRefused)
        assert "is this a Headwater server?" in str(error)
    for _ in range(2):
        scripted.then(404, b"<html>no such page</html>")
    for error in await run_both(scripted, calls.health()):
        assert error.status == 404
        assert "no such page" in str(error)


async def test_a_server_that_is_away_is_named(pauses):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = Server(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with Client(server) as one, pytest.raises(HeadwaterUnavailable, match="cannot be reached") as caught:
            one.run(calls.health())
    assert server.url in str(caught.value)
    assert len(pauses) == 3


async def test_what_is_not_repeatable_is_sent_once(scripted, pauses):
    for _ in range(2):
        scripted.refuse(503)
    for error in await run_both(scripted, calls.create_database("x")):
        assert isinstance(error, HeadwaterUnavailable)
    assert len(scripted.requests) == 2


def test_names_cannot_leave_their_place_in_the_path():
    call = calls.record("db", "a/../../b", "x?y#z%2e")
    assert call.path == "/v1/databases/db/collections/a%2F..%2F..%2Fb/records/x%3Fy%23z%252e"


def test_a_wait_is_added_to_the_timeout():
    server = Server("http://x", timeout=5)
    assert server.request(calls.changes("db", wait=60))["timeout"].read == 65
    assert "timeout" not in server.request(calls.changes("db"))
