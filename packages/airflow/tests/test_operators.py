"""The operators, sensor, trigger and notifier against a real server."""

import asyncio
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from records import everything, get, lines, published, put

from airflow_provider_headwater import calls
from airflow_provider_headwater.client import AsyncClient
from airflow_provider_headwater.errors import HeadwaterRefused, HeadwaterUnavailable
from airflow_provider_headwater.hooks import HeadwaterHook
from airflow_provider_headwater.notifications import HeadwaterNotifier
from airflow_provider_headwater.operators import (
    HeadwaterPublishOperator,
    HeadwaterPullOperator,
    HeadwaterPushOperator,
    HeadwaterSettleConflictsOperator,
    HeadwaterVerifyLakeOperator,
)
from airflow_provider_headwater.sensors import HeadwaterChangeSensor
from airflow_provider_headwater.triggers import HeadwaterAssetTrigger, HeadwaterChangeTrigger


def pull(database, folder, **options):
    return HeadwaterPullOperator(task_id="pull", database=database, consumer="c", directory=str(folder), **options)


def push(database, records, **options):
    return HeadwaterPushOperator(task_id="push", database=database, collection="items", records=records, **options)


def test_the_test_button(api):
    works, why = HeadwaterHook("headwater_default").test_connection()
    assert works, why


def test_changes_come_once_in_order_and_with_who_wrote_them(api, database, execute, tmp_path):
    put(api, database, "items", origin="shop", a={"n": 1}, b={"n": 2})
    published(api)
    put(api, database, "items", origin="shop", a={"n": 3})
    published(api)
    pulled = execute(pull(database, tmp_path, page_size=2))
    changes = lines(pulled["files"])
    assert [(change["key"], change["op"], change["after"]) for change in changes] == [
        ("a", "insert", {"n": 1}),
        ("b", "insert", {"n": 2}),
        ("a", "update", {"n": 3}),
    ]
    assert changes[2]["before"] == {"n": 1}
    assert {change["origin"] for change in changes} == {"shop"}
    assert len(pulled["files"]) == 2
    assert pulled["changes"] == 3
    again = execute(pull(database, tmp_path), run_id="next")
    assert (again["files"], again["changes"]) == ([], 0)
    put(api, database, "items", c={"n": 4})
    published(api)
    assert [change["key"] for change in lines(execute(pull(database, tmp_path), run_id="third")["files"])] == ["c"]


async def test_a_consumer_that_begins_with_a_snapshot(api, database, execute, tmp_path):
    feed = {"consumer": "c", "collection": "items", "start": "snapshot"}
    sensor = HeadwaterChangeSensor(task_id="s", database=database, **feed)
    rings = HeadwaterAssetTrigger(database, **feed).run()
    await asyncio.to_thread(put, api, database, "items", a={"n": 1}, b={"n": 2})
    await asyncio.to_thread(put, api, database, "other", c={"n": 3})
    await asyncio.to_thread(published, api)
    await asyncio.to_thread(execute, sensor)
    assert (await asyncio.wait_for(anext(rings), 10)).payload["committed"] is None
    ring = asyncio.ensure_future(anext(rings))
    operator = HeadwaterPullOperator(task_id="pull", database=database, directory=str(tmp_path), **feed)
    pulled = await asyncio.to_thread(execute, operator)
    assert {change["key"]: change["after"] for change in lines(pulled["snapshot"])} == {"a": {"n": 1}, "b": {"n": 2}}
    assert pulled["files"] == []
    assert not await asyncio.to_thread(sensor.poke, {})
    await asyncio.to_thread(put, api, database, "items", a={"n": 4})
    await asyncio.to_thread(published, api)
    assert (await asyncio.wait_for(ring, 10)).payload["committed"] == pulled["cursor"]
    await rings.aclose()
    pulled = await asyncio.to_thread(execute, operator, run_id="next")
    assert pulled["snapshot"] == []
    assert [(change["key"], change["op"]) for change in lines(pulled["files"])] == [("a", "update")]


def test_a_snapshot_of_what_is_not_there_yet_is_empty(api, database, execute, tmp_path):
    pulled = execute(pull(database, tmp_path, collection="later", start="snapshot"))
    assert (pulled["snapshot"], pulled["files"]) == ([], [])


def test_a_run_can_be_bounded(api, database, execute, tmp_path):
    put(api, database, "items", a={"n": 1}, b={"n": 2}, c={"n": 3})
    published(api)
    first = execute(pull(database, tmp_path, page_size=1, max_pages=2))
    assert first["more"]
    rest = execute(pull(database, tmp_path, page_size=1), run_id="next")
    assert not rest["more"]
    assert sorted(change["key"] for change in lines(first["files"] + rest["files"])) == ["a", "b", "c"]


def test_what_is_pushed_is_left_out_of_a_pull_that_excludes_its_origin(api, database, execute, tmp_path):
    execute(push(database, [{"key": "ours", "value": {"n": 1}}], op="put"))
    put(api, database, "items", theirs={"n": 2})
    published(api)
    pulled = execute(pull(database, tmp_path, exclude_origin="airflow:dag"))
    assert [change["key"] for change in lines(pulled["files"])] == ["theirs"]
    execute(push(database, [{"key": "ours", "value": {"n": 3}}]), run_id="next")
    published(api)
    assert execute(pull(database, tmp_path, exclude_origin="airflow:dag"), run_id="next")["changes"] == 0


def test_another_ones_lease_is_waited_for(api, database, execute, tmp_path):
    put(api, database, "items", a={"n": 1})
    published(api)
    api.run(calls.ensure_consumer(database, "c", start="beginning"))
    page = api.run(calls.pull(database, "c", limit=10, lease_s=60, holder="someone else"))
    with pytest.raises(HeadwaterUnavailable, match="leased") as caught:
        execute(pull(database, tmp_path))
    assert not isinstance(caught.value, AirflowFailException)
    api.run(calls.commit(database, "c", page["cursor"]))
    assert execute(pull(database, tmp_path), run_id="next")["changes"] == 0


def test_a_push_is_repeated_once_for_each_run(api, database, execute):
    records = [{"key": f"k{n}", "value": {"n": n}} for n in range(10)]
    operator = push(database, records, op="put", batch_size=4)
    assert execute(operator) == {"records": 10, "batches": 3}
    put(api, database, "items", k3={"n": "by a person"})
    # Its next try: what people wrote since stays.
    assert execute(operator) == {"records": 10, "batches": 3}
    assert get(api, database, "items", "k3") == {"n": "by a person"}
    # Another run writes again.
    execute(operator, run_id="next")
    assert everything(api, database, "items") == {f"k{n}": {"n": n} for n in range(10)}


def test_a_key_that_comes_twice_is_written_twice_in_order(api, database, execute):
    records = [{"key": "k", "value": {"n": 1}}, {"key": "k", "value": {"n": 2}}]
    assert execute(push(database, records, op="put"))["batches"] == 2
    assert get(api, database, "items", "k") == {"n": 2}


def test_a_batch_is_written_as_a_whole_or_not_at_all(api, database, execute):
    put(api, database, "items", there={"n": 1})
    records = [{"key": "there", "value": {"n": 2}}, {"key": "missing", "value": {"n": 2}}]
    with pytest.raises(HeadwaterRefused, match="missing"):
        execute(push(database, records))
    assert everything(api, database, "items") == {"there": {"n": 1}}


def test_records_come_from_files_and_functions(api, database, execute, tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"key":"a","value":{"n":1}}\n\n{"key":"b","value":{"n":2}}\n', encoding="utf-8")
    operator = HeadwaterPushOperator(task_id="p", database=database, collection="items", files=[str(path)], op="put")
    assert execute(operator)["records"] == 2
    of_run = lambda ti, **_: ({"key": key, "value": {"run": ti.run_id}} for key in "ab")  # noqa: E731
    execute(push(database, None, python_callable=of_run))
    assert everything(api, database, "items") == {"a": {"n": 1, "run": "run"}, "b": {"n": 2, "run": "run"}}


def test_a_write_of_an_old_version_is_merged_or_refused(api, database, execute):
    [written] = put(api, database, "items", a={"name": "x", "n": 1})
    api.run(
        calls.writes(database, [{"op": "patch", "collection": "items", "key": "a", "value": {"n": 2}}], key="1", origin="p")
    )
    record = {"key": "a", "version": written["version"], "value": {"name": "y"}}
    with pytest.raises(HeadwaterRefused) as caught:
        execute(push(database, [record], if_changed="fail"))
    assert caught.value.code == "changed"
    assert get(api, database, "items", "a") == {"name": "x", "n": 2}
    execute(push(database, [record]))
    assert get(api, database, "items", "a") == {"name": "y", "n": 2}


def test_conflicts_are_settled_as_a_function_decides(api, database, execute):
    written = put(api, database, "items", a={"n": 1}, b={"n": 1})
    for value in (2, 3):
        stale = [
            {"op": "patch", "collection": "items", "key": one["key"], "value": {"n": value}, "version": one["version"]}
            for one in written
        ]
        api.run(calls.writes(database, stale, key=f"stale-{value}", origin="person"))
    assert len(api.run(calls.conflicts(database, "items"))["conflicts"]) == 2

    def decide(conflict):
        return {"keep": conflict["losers"][0]["id"]} if conflict["key"] == "a" else None

    shown = get(api, database, "items", "a")["n"]
    settle = HeadwaterSettleConflictsOperator(task_id="settle", database=database, collection="items", decide=decide)
    assert execute(settle) == {"settled": 1, "left": 1}
    assert get(api, database, "items", "a")["n"] == 5 - shown
    [left] = api.run(calls.conflicts(database, "items"))["conflicts"]
    assert left["key"] == "b"


def test_what_was_written_meanwhile_is_not_settled_unseen(api, database, execute):
    [written] = put(api, database, "items", a={"n": 1, "m": 1})

    def meanwhile(value):
        stale = {"op": "patch", "collection": "items", "key": "a", "value": {"n": value, "m": value}}
        api.run(calls.writes(database, [{**stale, "version": written["version"]}], key=f"{value}", origin="person"))

    meanwhile(2)
    meanwhile(3)
    seen = []

    def decide(conflict):
        if not seen:
            meanwhile(4)
        seen.append((conflict["path"], {loser["value"] for loser in conflict["losers"]} | {conflict["shown"]}))
        return {"accept": True}

    settle = HeadwaterSettleConflictsOperator(task_id="settle", database=database, collection="items", decide=decide)
    assert execute(settle) == {"settled": 2, "left": 0}
    first, later = {2, 3}, {2, 3, 4}
    assert seen == [(["m"], first), (["n"], first), (["m"], later), (["n"], later)]
    assert api.run(calls.conflicts(database, "items"))["conflicts"] == []


def test_a_patch_of_what_is_gone_can_be_left_out(api, database, execute):
    put(api, database, "items", there={"n": 1})
    records = [
        {"key": "there", "value": {"n": 2}},
        {"key": "gone", "value": {"n": 2}},
        {"key": "new", "op": "put", "value": {}},
    ]
    execute(push(database, records, if_missing="skip"))
    assert everything(api, database, "items") == {"there": {"n": 2}, "new": {}}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"records": "[{'key': 'repr'}]"}, "tojson"),
        ({"records": '{"key": "a"}'}, "not a list"),
        ({"records": ["text"]}, "is a str"),
        ({"records": [{"value": {}}]}, "the key None"),
        ({"records": [{"key": "a", "value": {"n": float("nan")}}]}, "'a' cannot be written as JSON"),
        ({"records": [{"key": "a", "value": {"at": object()}}]}, "'a' cannot be written as JSON"),
        ({"files": "[1"}, "files is a text that is not JSON"),
        ({"files": [__file__]}, "line 1 of .* is not JSON"),
        ({}, "give one of"),
        ({"records": [], "batch_size": 0}, "choose 1 to"),
    ],
)
def test_what_cannot_be_pushed_fails_at_once_and_says_why(api, database, execute, options, why):
    operator = HeadwaterPushOperator(task_id="push", database=database, collection="items", op="put", **options)
    with pytest.raises(AirflowFailException, match=why):
        execute(operator)


def test_templates_that_are_rendered_as_json(api, database, execute, tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"key":"b","value":{"n":2}}\n')
    options = {"database": database, "collection": "items", "op": "put"}
    context = {"given": [{"key": "a", "value": {"n": 1}}], "paths": [str(path)]}
    for name, template in {"records": "{{ given | tojson }}", "files": "{{ paths | tojson }}"}.items():
        operator = HeadwaterPushOperator(task_id="push", origin="etl", **{name: template}, **options)
        operator.render_template_fields(context)
        assert execute(operator) == {"records": 1, "batches": 1}
    assert everything(api, database, "items") == {"a": {"n": 1}, "b": {"n": 2}}


@pytest.mark.parametrize("dag", ["zażółć", "d" * 250, "gęś" * 60])
def test_a_dag_of_any_name_does_not_cause_itself(api, database, execute, tmp_path, dag):
    feed = {"exclude_origin": f"airflow:{dag}"}
    execute(push(database, [{"key": "ours", "value": {}}], op="put", origin=f"airflow:{dag}"))
    put(api, database, "items", theirs={"n": 1})
    published(api)
    sensor = HeadwaterChangeSensor(task_id="s", database=database, consumer="c", **feed)
    pulled = execute(pull(database, tmp_path, **feed))
    assert [change["key"] for change in lines(pulled["files"])] == ["theirs"]
    execute(push(database, [{"key": "ours", "value": {"n": 2}}], op="put", origin=f"airflow:{dag}"))
    published(api)
    assert not sensor.poke({})


def test_publishing_and_verifying(api, database, execute):
    put(api, database, "items", a={"n": 1})
    assert execute(HeadwaterPublishOperator(task_id="publish"))["snapshot"] > 0
    assert execute(HeadwaterVerifyLakeOperator(task_id="verify"))["rows"] >= 1


async def test_the_trigger_rings_until_it_is_pulled_and_not_for_its_own(api, database, execute, tmp_path):
    feed = {"database": database, "consumer": "c", "exclude_origin": "airflow:dag"}
    trigger = HeadwaterAssetTrigger(**feed, remind_s=1)
    rings = trigger.run()
    ring = asyncio.ensure_future(anext(rings))
    await asyncio.to_thread(put, api, database, "items", a={"n": 1})
    event = await asyncio.wait_for(ring, 10)
    assert event.payload["consumer"] == "c"
    # Nobody pulled, so it rings again.
    await asyncio.wait_for(anext(rings), 10)
    await asyncio.to_thread(execute, pull(database, tmp_path, exclude_origin="airflow:dag"))
    await asyncio.to_thread(execute, push(database, [{"key": "ours", "value": {}}], op="put"))
    await asyncio.to_thread(published, api)
    ring = asyncio.ensure_future(anext(rings))
    done, _ = await asyncio.wait([ring], timeout=3)
    assert not done
    await asyncio.to_thread(put, api, database, "items", b={"n": 2})
    await asyncio.wait_for(ring, 10)
    await rings.aclose()
    again = HeadwaterAssetTrigger(**trigger.serialize()[1])
    assert again.serialize() == trigger.serialize()


def test_the_sensor_looks_and_defers(api, database, execute, tmp_path):
    sensor = HeadwaterChangeSensor(task_id="s", database=database, consumer="c", deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        execute(sensor)
    trigger = deferred.value.trigger
    assert isinstance(trigger, HeadwaterChangeTrigger)

    async def wait_for_a_change():
        first = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.to_thread(put, api, database, "items", a={"n": 1})
        return await asyncio.wait_for(first, 10)

    event = asyncio.run(wait_for_a_change())
    sensor.execute_complete({}, event.payload)
    assert sensor.poke({})
    execute(sensor)
    execute(pull(database, tmp_path))
    assert not sensor.poke({})


async def test_the_asynchronous_client_does_the_same(api, database):
    from airflow_provider_headwater.client import Server

    async with AsyncClient(Server(api.server.url)) as client:
        seen = await client.run(calls.databases())
        head = await client.run(calls.head(database))
    assert database in [entry["id"] for entry in seen["databases"]]
    assert head["cursor"]


def notifier(database):
    """One whose templates were rendered."""
    return HeadwaterNotifier(database=database, message="t failed", origin="airflow:d")


async def test_a_notice_is_one_record_however_often_it_is_told(api, database):
    instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", try_number=1, map_index=-1)
    context = {"ti": instance, "exception": ValueError("the reason")}
    await asyncio.to_thread(notifier(database).notify, context)
    await notifier(database).async_notify(context)
    [notice] = everything(api, database, "airflow_notices").values()
    assert notice.pop("at")
    told = {"dag": "d", "task": "t", "run": "r", "try": 1, "state": "failed", "error": "the reason", "message": "t failed"}
    assert notice == told


def test_notices_of_mapped_tasks_and_of_dags(api, database):
    for index in range(2):
        instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", try_number=1, map_index=index)
        notifier(database).notify({"ti": instance})
    notifier(database).notify({"dag": SimpleNamespace(dag_id="d"), "run_id": "r"})
    notices = everything(api, database, "airflow_notices").values()
    assert sorted(str(notice.get("map_index")) for notice in notices) == ["0", "1", "None"]
    assert {(notice["dag"], notice["run"]) for notice in notices} == {("d", "r")}
