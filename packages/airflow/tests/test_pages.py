"""Page files are there as a whole or not at all."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
from contextlib import contextmanager

import pytest

from airflow_provider_headwater import pages


def test_a_cursor_that_is_no_file_name_is_named_by_its_hash():
    own = pages.file_name("1.2-abc_D", "d", "c")
    assert own.startswith("1.2-abc_D.")
    assert own.endswith(".jsonl")
    # Cursors are the server's: two consumers may have pages from the same one.
    assert len({own, pages.file_name("1.2-abc_D", "d", "other"), pages.file_name("1.2-abc_D", "other", "c")}) == 3
    for cursor in ("../../etc/passwd", "a/b", ".hidden", "", "ä", "x" * 101, "a\nb"):
        name = pages.file_name(cursor, "d", "c")
        assert len(name) == 83
        assert name.removesuffix(".jsonl").replace(".", "").isalnum()


def test_a_failure_in_the_middle_leaves_the_file_of_before(tmp_path):
    path = tmp_path / "new" / "p.jsonl"
    assert pages.write(path, [{"n": 1}]) == 1

    def broken():
        yield {"n": 2}
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        pages.write(path, broken())
    assert path.read_text() == '{"n":1}\n'
    assert os.listdir(path.parent) == ["p.jsonl"]


def _write_for_ever(path, told):
    def rows():
        while True:
            yield {"n": "x" * 1000}
            told.set()

    pages.write(path, rows())


def test_a_killed_writer_leaves_the_file_of_before_and_the_next_one_replaces_its_rest(tmp_path):
    path = tmp_path / "p.jsonl"
    pages.write(path, [{"n": 1}])
    context = multiprocessing.get_context("spawn")
    told = context.Event()
    process = context.Process(target=_write_for_ever, args=(path, told))
    process.start()
    assert told.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert path.read_text() == '{"n":1}\n'
    pages.write(path, [{"n": 2}])
    assert path.read_text() == '{"n":2}\n'
    assert os.listdir(tmp_path) == ["p.jsonl"]


def test_two_writers_of_a_page_do_not_mix(tmp_path):
    path = tmp_path / "p.jsonl"

    def overtaken():
        yield {"n": 1}
        pages.write(path, [{"n": 2}])
        yield {"n": 3}

    # One that Airflow took for dead, and its next try.
    with pytest.raises(FileNotFoundError):
        pages.write(path, overtaken())
    assert path.read_text() == '{"n":2}\n'
    assert os.listdir(tmp_path) == ["p.jsonl"]


def test_a_journal_has_what_was_noted_and_leaves_out_what_was_torn(tmp_path):
    path = tmp_path / "new" / ".run-1"
    journal = pages.Journal(path)
    assert not path.parent.exists()
    journal.add_page(tmp_path / "a", 3)
    journal.add_page(tmp_path / "ä", 4)
    with path.open("ab") as file:
        file.write(b'{"page": "c\xc3')
    again = pages.Journal(path)
    again.add_page(tmp_path / "a", 5)
    journal = pages.Journal(path)
    assert journal.pages == {str(tmp_path / "a"): 5, str(tmp_path / "ä"): 4}
    journal.add_snapshot(["s"])
    journal.add_page(tmp_path / "d", 1)
    journal = pages.Journal(path)
    assert (journal.snapshot, journal.pages) == (["s"], {str(tmp_path / "d"): 1})


@contextmanager
def small_disk(folder, kibibytes):
    """Needs root or CAP_SYS_ADMIN, as the tests of full disks in Rust do."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path):
    with small_disk(tmp_path, 256):
        path = tmp_path / "p.jsonl"
        pages.write(path, [{"n": 1}])
        with pytest.raises(OSError) as caught:
            pages.write(path, ({"n": "x" * 1000} for _ in range(1000)))
        assert caught.value.errno == errno.ENOSPC
        assert os.listdir(tmp_path) == ["p.jsonl"]
        assert json.loads(path.read_text()) == {"n": 1}
        # The room is free again.
        pages.write(path, [{"n": "y" * 100_000}])
