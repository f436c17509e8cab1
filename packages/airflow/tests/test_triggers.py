"""What the triggers and the sensor make of failures, since nobody watches a triggerer."""

import asyncio
import pickle

import pytest
from airflow.sdk.exceptions import AirflowFailException
from real import Server, free_port
from records import published, put

from airflow_provider_headwater import calls, triggers
from airflow_provider_headwater.client import Client
from airflow_provider_headwater.client import Server as Address
from airflow_provider_headwater.errors import CursorExpired, HeadwaterUnavailable
from airflow_provider_headwater.sensors import HeadwaterChangeSensor
from airflow_provider_headwater.triggers import HeadwaterAssetTrigger, HeadwaterChangeTrigger

PLACE = {"committed": "1", "collection": None, "exclude_origin": None}
NEWS = {"changes": [{}], "cursor": "2", "more": False}


@pytest.fixture
def pauses(monkeypatch):
    """Pauses are noted instead of made."""
    noted = []
    sleep = asyncio.sleep

    async def pause(seconds):
        noted.append(seconds)
        await sleep(0.01)

    monkeypatch.setattr(triggers.asyncio, "sleep", pause)
    return noted


async def first_event(trigger):
    events = trigger.run()
    try:
        return (await asyncio.wait_for(anext(events), 20)).payload
    finally:
        await events.aclose()


def asset_trigger():
    return HeadwaterAssetTrigger("db", "c", headwater_conn_id="hw")


async def test_an_asset_trigger_goes_on_after_any_failure(scripted, connect, pauses):
    connect("hw", scripted.url, attempts=1)
    scripted.refuse(401, "unauthorized", "this token is not known")
    scripted.then(200, b"<html>not a Headwater server")
    scripted.then(200, {}).then(200, {"not": "a place"})
    scripted.then(200, {}).then(200, PLACE).refuse(410, "cursor-expired", "gone", {"oldest": "5", "head": "9"})
    assert (await first_event(asset_trigger()))["committed"] == "1"
    assert pauses == [1, 2, 4]


async def test_an_asset_trigger_waits_as_long_as_the_server_asks(scripted, connect, pauses):
    connect("hw", scripted.url, attempts=1)
    scripted.refuse(429, Retry_After="70").then(200, {}).then(200, PLACE).then(200, NEWS)
    await first_event(asset_trigger())
    assert pauses == [70]


async def test_an_asset_trigger_outlives_a_connection_that_is_wrong_or_missing(scripted, connect, monkeypatch, pauses):
    trigger = asset_trigger()
    events = trigger.run()
    ring = asyncio.ensure_future(anext(events))
    wrong = [("http://h:port", {}), (scripted.url, {"ca_file": "/nowhere.pem"}), (scripted.url, {"timeout": "soon"})]
    for host, extra in wrong:
        before = len(pauses)
        connect("hw", host, **extra)
        while len(pauses) < before + 2:
            await asyncio.wait([ring], timeout=0.01)
            assert not ring.done()
    scripted.then(200, {}).then(200, PLACE).then(200, NEWS)
    connect("hw", scripted.url)
    await asyncio.wait_for(ring, 20)
    await events.aclose()


async def test_a_waiting_sensor_is_told_what_stands_in_its_way_for_good(scripted, connect):
    connect("hw", scripted.url)
    scripted.refuse(401, "unauthorized", "this token is not known")
    event = await first_event(HeadwaterChangeTrigger("db", "c", "hw"))
    sensor = HeadwaterChangeSensor(task_id="s", database="db", consumer="c", headwater_conn_id="hw")
    with pytest.raises(AirflowFailException, match="this token is not known"):
        sensor.execute_complete({}, event)
    scripted.then(200, PLACE).refuse(410, "cursor-expired", "gone", {"oldest": "5", "head": "9"})
    event = await first_event(HeadwaterChangeTrigger("db", "c", "hw"))
    assert event == {"status": "news"}
    assert sensor.execute_complete({}, event) is None


async def test_triggers_outlive_the_server(tmp_path, connect):
    server = Server(tmp_path / "server")
    try:
        server.start()
        connect("hw", server.url, attempts=1)
        with Client(Address(server.url)) as api:
            database = api.run(calls.create_database())["id"]
            api.run(calls.ensure_consumer(database, "c", start="beginning"))
            server.kill()
            waiting = [
                asyncio.ensure_future(first_event(trigger))
                for trigger in (
                    HeadwaterChangeTrigger(database, "c", "hw"),
                    HeadwaterAssetTrigger(database, "c", headwater_conn_id="hw"),
                )
            ]
            done, _ = await asyncio.wait(waiting, timeout=2)
            assert not done
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(put, api, database, "items", a={"n": 1})
            await asyncio.to_thread(published, api)
            sensed, rung = await asyncio.gather(*waiting)
        assert sensed == {"status": "news"}
        assert rung["consumer"] == "c"
    finally:
        server.close()


def test_a_connection_that_is_of_no_use_fails_at_once(connect):
    for host, extra, why in [
        ("http://h:port", {}, "is not a URL"),
        ("ftp://h", {}, "is not one of http"),
        ("http://h", {"ca_file": "/nowhere.pem"}, "/nowhere.pem"),
        ("http://h", {"timeout": "soon"}, "timeout and attempts are numbers"),
    ]:
        connect("hw", host, **extra)
        sensor = HeadwaterChangeSensor(task_id="s", database="db", consumer="c", headwater_conn_id="hw")
        with pytest.raises(AirflowFailException, match=why):
            sensor.poke({})
    connect("hw", f"http://127.0.0.1:{free_port()}", attempts=1)
    with pytest.raises(HeadwaterUnavailable):
        sensor.poke({})


def test_errors_can_be_sent_to_another_process():
    expired = CursorExpired("gone", status=410, code="cursor-expired", details={"head": "9"})
    unavailable = HeadwaterUnavailable("away", retry_after=3)
    for error in (expired, unavailable):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.args, vars(again)) == (type(error), error.args, vars(error))
