"""Page files: one JSON object a line, there as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def file_name(cursor: str) -> str:
    """Return the name of the page that begins at ``cursor``; cursors that are no file names are named by their hash."""
    name = cursor if _PLAIN.fullmatch(cursor) else hashlib.sha256(cursor.encode()).hexdigest()
    return f"{name}.jsonl"


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Replace the file by ``rows``, and return their number once they are on the disk.

    Whoever reads ``path`` sees the file of before or all of the new one, also if this process is killed.

    :raises OSError: if the disk is full or the folder cannot be written; the file of before is still there then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name, so that one that a killed worker left is written over.
    temporary = path.with_name(f".{path.name}.tmp")
    count = 0
    try:
        with temporary.open("w", encoding="utf-8") as file:
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


def _sync_folder(folder: Path) -> None:
    """Have the folder's list of names on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
