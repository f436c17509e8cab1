"""Page files: one JSON object a line, there as a whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: How the names of journals begin.
JOURNAL = ".run-"

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def file_name(cursor: str, database: str, consumer: str) -> str:
    """Return the name of a consumer's page that begins at ``cursor``; cursors that are no file names are named by their hash.

    Cursors are the server's, so pages of several consumers in one folder may begin at the same one.
    """
    name = cursor if _PLAIN.fullmatch(cursor) else hashlib.sha256(cursor.encode()).hexdigest()
    owner = hashlib.sha256("\0".join([database, consumer]).encode()).hexdigest()[:12]
    return f"{name}.{owner}.jsonl"


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Replace the file by ``rows``, and return their number once they are on the disk.

    Whoever reads ``path`` sees the file of before or all of the new one, also if this process is killed.

    :raises OSError: if the disk is full or the folder cannot be written; the file of before is still there then.
    """
    _make_folder(path.parent)
    # What a killed worker left. One that lives nevertheless, since Airflow only took it for dead, fails when it renames.
    for rest in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        rest.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    count = 0
    try:
        with temporary.open("x", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
                file.write("\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return count


class Journal:
    """What the tries of one run have pulled, on the disk before the server is told that it was.

    A try that dies after a page was committed cannot have it again, so the next one tells of it. A snapshot replaces
    what was pulled before. The file stays beside the pages, since a run can be cleared and begin again.

    :param path: the file; it is there once something was noted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.snapshot: list[str] = []
        #: The number of changes of each page.
        self.pages: dict[str, int] = {}
        if path.exists():
            # Without what follows the last line's end: what was not written to its end was not relied on.
            whole = path.read_bytes().rpartition(b"\n")[0]
            for line in whole.splitlines():
                self._take(json.loads(line))
            self._length = len(whole) + 1 if whole else 0
        else:
            self._length = 0

    def add_page(self, path: Path, changes: int) -> None:
        """Note a page; a page of the same path is replaced."""
        self._write({"page": str(path), "changes": changes})

    def take_over(self, path: Path) -> None:
        """Leave a page out of the journals of other runs, which noted it and died before they committed it."""
        for other in self._path.parent.glob(f"{JOURNAL}*"):
            if other != self._path:
                journal = Journal(other)
                if str(path) in journal.pages:
                    journal._write({"page": str(path), "changes": None})

    def add_snapshot(self, paths: list[str]) -> None:
        """Note a snapshot."""
        self._write({"snapshot": paths})

    def _take(self, entry: Mapping[str, Any]) -> None:
        if "snapshot" in entry:
            self.snapshot, self.pages = entry["snapshot"], {}
        elif entry["changes"] is None:
            del self.pages[entry["page"]]
        else:
            self.pages[entry["page"]] = entry["changes"]

    def _write(self, entry: Mapping[str, Any]) -> None:
        _make_folder(self._path.parent)
        line = (json.dumps(entry) + "\n").encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate(self._length)
            file.seek(self._length)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if self._length == 0:
            _sync_folder(self._path.parent)
        self._length += len(line)
        self._take(entry)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they are on the disk."""
    missing = [level for level in (folder, *folder.parents) if not level.exists()]
    for level in reversed(missing):
        level.mkdir(exist_ok=True)
        _sync_folder(level.parent)


def _sync_folder(folder: Path) -> None:
    """Have the folder's list of names on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
