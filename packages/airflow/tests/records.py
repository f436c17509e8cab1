"""What tests write and read, over HTTP."""

import json
from itertools import count
from pathlib import Path

from airflow_provider_headwater import calls

_numbers = count()


def put(api, database, collection, origin="person", **records):
    """Write records as a person would."""
    writes = [{"op": "put", "collection": collection, "key": key, "value": value} for key, value in records.items()]
    return api.run(calls.writes(database, writes, key=f"test-{next(_numbers)}", origin=origin))["results"]


def get(api, database, collection, key):
    return api.run(calls.record(database, collection, key))["value"]


def everything(api, database, collection):
    """All records, by key."""
    found, after = {}, None
    while True:
        page = api.run(calls.records(database, collection, after=after, limit=10_000))
        found |= {record["key"]: record["value"] for record in page["records"]}
        after = page.get("next")
        if after is None:
            return found


def lines(files):
    """The changes in page files, in order."""
    return [json.loads(line) for file in files for line in Path(file).read_text(encoding="utf-8").splitlines()]


def published(api):
    api.run(calls.publish())
