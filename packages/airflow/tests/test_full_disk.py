"""A full disk of the server, from the runbook: nothing is lost, nothing is there twice."""

import errno
from pathlib import Path

import pytest
from real import Server, until
from records import everything, published
from test_failures import keys_once, pull, push, try_again_after_a_person
from test_pages import small_disk

from airflow_provider_headwater import calls
from airflow_provider_headwater.client import Client
from airflow_provider_headwater.client import Server as Address
from airflow_provider_headwater.errors import HeadwaterUnavailable


def test_full_disk_of_the_server(tmp_path, connect, execute):
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, 48 << 10):
        own = Server(disk)
        own.start()
        try:
            connect("headwater_default", own.url)
            with Client(Address(own.url)) as api:
                database = api.run(calls.create_database())["id"]
                execute(push(database, 100), run_id="before")
                published(api)
                _fill(disk / "ballast")
                operator = push(database, 4_000, batch_size=500)
                with pytest.raises(HeadwaterUnavailable):
                    execute(operator)
                (disk / "ballast").unlink()
                until(lambda: _is_ready(api), what="a server that is ready")
                assert execute(operator)["records"] == 4_000
                assert len(everything(api, database, "items")) == 4_000
                published(api)
                keys_once(execute(pull(database, tmp_path / "f"))["files"], 4_000)
                try_again_after_a_person(api, database, execute, operator)
        finally:
            own.close()


def _fill(path: Path):
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"0" * 4096)
            except OSError as error:
                assert error.errno == errno.ENOSPC
                return


def _is_ready(api):
    try:
        return api.run(calls.ready())
    except HeadwaterUnavailable:
        return False
