"""Each example DAG, run by Airflow against a real server and a real Drillbit."""

import os
import subprocess

from airflow.sdk import DagRunState
from conftest import EXAMPLES
from real import COMMAND, Server
from records import everything, get, lines, published, put

from airflow_provider_headwater import calls
from airflow_provider_headwater.client import Client
from airflow_provider_headwater.client import Server as Address
from airflow_provider_headwater.operators.drill import query


def test_every_example_is_a_dag():
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(EXAMPLES), bundle_name="dags-folder")
    assert not bag.import_errors
    assert len(bag.dags) == len([name for name in os.listdir(EXAMPLES) if name.startswith("example_")])


def test_pull_on_change(api, database, run_dag, tmp_path):
    put(api, database, "visits", a={"place": "x"}, b={"place": "y"})
    put(api, database, "other", c={"place": "z"})
    published(api)
    assert run_dag("headwater_pull_on_change").state == DagRunState.SUCCESS
    put(api, database, "visits", a={"place": "changed"})
    published(api)
    assert run_dag("headwater_pull_on_change").state == DagRunState.SUCCESS
    assert run_dag("headwater_pull_on_change").state == DagRunState.SUCCESS
    files = sorted((tmp_path / "visits").glob("*.jsonl"), key=os.path.getmtime)
    assert [(change["key"], change["op"]) for change in lines(files)] == [("a", "insert"), ("b", "insert"), ("a", "update")]


def test_two_way_sync(api, database, run_dag):
    put(api, database, "orders", a={"quantity": 2, "price": 5}, b={"quantity": 1, "price": 7})
    published(api)
    assert run_dag("headwater_two_way_sync").state == DagRunState.SUCCESS
    assert {key: order["total"] for key, order in everything(api, database, "orders").items()} == {"a": 10, "b": 7}
    # Its own totals are no news to it; a person's edit is.
    published(api)
    before = api.run(calls.consumer(database, "orders"))
    assert before["lag"]["changes"] == 0
    api.run(
        calls.writes(
            database, [{"op": "patch", "collection": "orders", "key": "a", "value": {"quantity": 3}}], key="e", origin="person"
        )
    )
    published(api)
    assert run_dag("headwater_two_way_sync").state == DagRunState.SUCCESS
    assert get(api, database, "orders", "a") == {"quantity": 3, "price": 5, "total": 15}


def test_an_order_that_has_no_total_costs_the_others_nothing(api, database, run_dag, monkeypatch):
    put(
        api,
        database,
        "orders",
        good={"quantity": 2, "price": 5},
        text={"quantity": "two", "price": 5},
        empty={"note": "later"},
        huge={"quantity": 1e308, "price": 1e308},
        gone={"quantity": 1, "price": 1},
    )
    published(api)
    sent = calls.writes

    def with_a_person_in_between(database, writes, **options):
        if options["origin"].startswith("airflow:"):
            theirs = {"op": "delete", "collection": "orders", "key": "gone"}
            api.run(sent(database, [theirs], key="person", origin="person"))
        return sent(database, writes, **options)

    monkeypatch.setattr(calls, "writes", with_a_person_in_between)
    assert run_dag("headwater_two_way_sync").state == DagRunState.SUCCESS
    orders = everything(api, database, "orders")
    assert {key: order.get("total") for key, order in orders.items()} == {"good": 10, "text": None, "empty": None, "huge": None}


def test_nightly_report(api, database, drill, connect, run_dag, server, browser):
    connect("drill_default", drill.url)
    browser.open(database, server.url)
    put(
        api,
        database,
        "sales",
        a={"region": "north", "amount": 5},
        b={"region": "north", "amount": 7},
        c={"region": "it's south", "amount": 11},
        d={"region": "north", "amount": 0},
    )
    assert run_dag("headwater_nightly_report").state == DagRunState.SUCCESS
    report = {"north": {"sales": 2, "amount": 12}, "it's south": {"sales": 1, "amount": 11}}
    assert everything(api, database, "sales_by_region") == report
    seen = """
        const regions = db.collection("sales_by_region");
        const both = () => regions.scan().length === 2 ? Object.fromEntries(regions.scan()) : undefined;
        return await eventually(regions, both, 30000);
    """
    assert browser.run(seen) == report
    # From its IndexedDB, with no server: what is there stays theirs.
    browser.reload()
    browser.open(database)
    assert browser.run('return Object.fromEntries(db.collection("sales_by_region").scan())') == report
    # And in the lake, where the next report can use it.
    published(api)
    from airflow.sdk import Connection

    rows = query(
        Connection(conn_id="d", conn_type="drill", host=drill.url),
        f"SELECT `_key`, amount FROM headwater.sales_by_region WHERE `_database` = '{database}'",
    )
    assert {row["_key"]: row["amount"] for row in rows} == {"north": 12, "it's south": 11}


def test_enrichment_and_a_person_at_the_same_moment(api, database, run_dag, monkeypatch):
    put(api, database, "airports", LAX={"name": "Los Angeles"}, XXX={"name": "Nowhere"})
    sent = calls.writes

    def with_a_person_in_between(database, writes, **options):
        if options["origin"].startswith("airflow:"):
            theirs = {"op": "patch", "collection": "airports", "key": "LAX", "value": {"name": "L.A.", "note": "by a person"}}
            api.run(sent(database, [theirs], key="person", origin="person"))
        return sent(database, writes, **options)

    monkeypatch.setattr(calls, "writes", with_a_person_in_between)
    assert run_dag("headwater_enrichment").state == DagRunState.SUCCESS
    airport = get(api, database, "airports", "LAX")
    assert (airport["name"], airport["country"]) == ("L.A.", "US")
    # Both wrote the note: one is shown, the other is kept until someone settles it.
    [conflict] = api.run(calls.conflicts(database, "airports"))["conflicts"]
    assert conflict["path"] == ["note"]
    assert {airport["note"], *(loser["value"] for loser in conflict["losers"])} == {"found by its code", "by a person"}
    assert get(api, database, "airports", "XXX") == {"name": "Nowhere"}


def test_quality_check(api, database, connect, run_dag, server):
    connect("headwater_notices", server.url)
    put(api, database, "items", a={"n": 1}, b={"n": 2})
    assert run_dag("headwater_quality_check").state == DagRunState.SUCCESS


def test_a_damaged_lake_is_told_and_repaired(api, database, connect, run_dag, server, tmp_path):
    connect("headwater_notices", server.url)
    own = Server(tmp_path / "damaged")
    try:
        own.start()
        connect("headwater_default", own.url)
        with Client(Address(own.url)) as records:
            put(records, records.run(calls.create_database())["id"], "items", a={"n": 1234567})
            published(records)
        parts = [path for path in own.lake.rglob("*") if path.is_file() and b"1234567" in path.read_bytes()]
        assert parts
        for part in parts:
            part.write_bytes(part.read_bytes().replace(b"1234567", b"1234568"))
        assert run_dag("headwater_quality_check").state == DagRunState.FAILED
        [notice] = everything(api, database, "airflow_notices").values()
        assert notice["task"] == "verify"
        assert "headwater lake repair" in notice["error"]
        # As the notice says.
        subprocess.run([COMMAND, "lake", "repair", "--url", own.url], check=True, stdout=subprocess.DEVNULL)
        assert run_dag("headwater_quality_check").state == DagRunState.SUCCESS
    finally:
        own.close()


def test_a_wrong_token_is_told_at_once_and_by_another_connection(api, database, connect, run_dag, server, scripted):
    connect("headwater_notices", server.url)
    connect("headwater_default", scripted.url, "revoked")
    scripted.refuse(401, "unauthorized", "this token is not known")
    run = run_dag("headwater_quality_check")
    assert run.state == DagRunState.FAILED
    assert len(scripted.requests) == 1
    [notice] = everything(api, database, "airflow_notices").values()
    assert (notice["dag"], notice["task"], notice["try"]) == ("headwater_quality_check", "publish", 1)
    assert "this token is not known" in notice["error"]
