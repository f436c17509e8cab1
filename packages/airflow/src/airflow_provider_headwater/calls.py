"""The requests of Headwater's HTTP API as values, for the synchronous and the asynchronous client alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

OnChange = Literal["merge", "fail"]
OnMissing = Literal["fail", "skip"]
#: Where a consumer begins that is made after all records were read.
SNAPSHOT = "snapshot"
#: The server's word for a consumer that is not there.
UNKNOWN_CONSUMER = "unknown-consumer"
#: The most characters of an origin.
_LONGEST_ORIGIN = 128


@dataclass(frozen=True)
class Call:
    """One request.

    :ivar wait: seconds that the server may hold the answer back on purpose, on top of the client's timeout.
    :ivar repeatable: whether sending it twice has the effect of sending it once. All but the creation of a database have.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0
    repeatable: bool = True


def _path(*names: str) -> str:
    return "/v1/" + "/".join(quote(name, safe="") for name in names)


def origin_name(origin: str) -> str:
    """Return an origin as changes carry it: at most 128 printable ASCII characters, others of UTF-8 as ``%C3``.

    Airflow's DAG ids may be longer and have any letters. One that is too long ends in its hash.
    """
    name = quote(origin, safe="".join(map(chr, range(0x20, 0x7F))))
    if len(name) <= _LONGEST_ORIGIN:
        return name
    digest = hashlib.sha256(origin.encode()).hexdigest()[:32]
    return f"{name[: _LONGEST_ORIGIN - len(digest) - 1]}~{digest}"


def _excluded(origin: str | None) -> str | None:
    # What DAGs write has passed through a header. Applications may have names of any letters.
    return origin_name(origin) if origin is not None and origin.startswith("airflow:") else origin


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _params(**values: Any) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def health() -> Call:
    """Whether the server is up."""
    return Call("GET", "/v1/health")


def ready() -> Call:
    """Whether storage and lake work."""
    return Call("GET", "/v1/ready")


def databases() -> Call:
    """The databases that the token may see."""
    return Call("GET", "/v1/databases")


def create_database(name: str | None = None) -> Call:
    """A new database."""
    return Call("POST", "/v1/databases", json=_without_none(name=name), repeatable=False)


def collections(database: str) -> Call:
    """The collections of a database."""
    return Call("GET", _path("databases", database, "collections"))


def declare(database: str, collection: str, schema: Mapping[str, Any]) -> Call:
    """Declare fields and policies of a collection; what is declared stays."""
    return Call("PATCH", _path("databases", database, "collections", collection), json=dict(schema))


def records(database: str, collection: str, *, after: str | None = None, limit: int | None = None) -> Call:
    """A page of records in the order of their keys."""
    path = _path("databases", database, "collections", collection, "records")
    return Call("GET", path, params=_params(after=after, limit=limit))


def record(database: str, collection: str, key: str) -> Call:
    """One record, with its version."""
    return Call("GET", _path("databases", database, "collections", collection, "records", key))


def writes(database: str, writes: Sequence[Mapping[str, Any]], *, key: str, origin: str) -> Call:
    """Write all of ``writes`` or nothing; the same ``key`` again returns the first answer."""
    headers = {"Idempotency-Key": key, "Headwater-Origin": origin_name(origin)}
    return Call("POST", _path("databases", database, "writes"), json={"writes": list(writes)}, headers=headers)


def conflicts(database: str, collection: str, *, after: str | None = None, limit: int | None = None) -> Call:
    """A page of what lost and is not settled."""
    params = _params(collection=collection, after=after, limit=limit)
    return Call("GET", _path("databases", database, "conflicts"), params=params)


def settle(database: str, body: Mapping[str, Any], *, origin: str) -> Call:
    """Settle one conflict, as of the ``version`` that came with it if the body has that."""
    path = _path("databases", database, "conflicts", "settle")
    return Call("POST", path, json=dict(body), headers={"Headwater-Origin": origin_name(origin)})


def changes(
    database: str,
    *,
    cursor: str | None = None,
    limit: int | None = None,
    wait: int = 0,
    collection: str | None = None,
    exclude_origin: str | None = None,
) -> Call:
    """A page of changes after ``cursor``; waits up to ``wait`` seconds (at most 60) for the first."""
    params = _params(cursor=cursor, limit=limit, wait=wait, collection=collection, exclude_origin=_excluded(exclude_origin))
    return Call("GET", _path("databases", database, "changes"), params=params, wait=wait)


def head(database: str) -> Call:
    """The cursor after the newest change."""
    return Call("GET", _path("databases", database, "changes", "head"))


def consumers(database: str) -> Call:
    """All consumers of a database."""
    return Call("GET", _path("databases", database, "consumers"))


def consumer(database: str, name: str) -> Call:
    """One consumer: what it committed, and how far it is behind."""
    return Call("GET", _path("databases", database, "consumers", name))


def ensure_consumer(
    database: str, name: str, *, start: str, collection: str | None = None, exclude_origin: str | None = None
) -> Call:
    """Create a consumer; one that exists keeps its place."""
    body = _without_none(start=start, collection=collection, exclude_origin=_excluded(exclude_origin))
    return Call("PUT", _path("databases", database, "consumers", name), json=body)


def pull(database: str, name: str, *, limit: int, wait: int = 0, lease_s: int = 60, holder: str | None = None) -> Call:
    """Lease the next page of a consumer. The same holder gets the same page until it commits."""
    body = _without_none(limit=limit, wait=wait, lease_s=lease_s, holder=holder)
    return Call("POST", _path("databases", database, "consumers", name, "pull"), json=body, wait=wait)


def commit(database: str, name: str, cursor: str) -> Call:
    """Move a consumer on to the end of a page that it was given."""
    return Call("POST", _path("databases", database, "consumers", name, "commit"), json={"cursor": cursor})


def reset(database: str, name: str, to: str) -> Call:
    """Put a consumer to ``beginning``, ``head`` or a cursor."""
    return Call("POST", _path("databases", database, "consumers", name, "reset"), json={"to": to})


def delete_consumer(database: str, name: str) -> Call:
    """Forget a consumer."""
    return Call("DELETE", _path("databases", database, "consumers", name))


def publish(wait: float = 300) -> Call:
    """Wait until the lake has all that was acknowledged before."""
    return Call("POST", "/v1/publish", wait=wait)


def verify_lake(wait: float = 3600) -> Call:
    """Compare every file and row of the lake with the records."""
    return Call("POST", "/v1/lake/verify", wait=wait)
