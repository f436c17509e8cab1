"""Clients that send calls, try again what can be tried again, and say plainly what cannot."""

from __future__ import annotations

import asyncio
import email.utils
import random
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_headwater import __version__
from airflow_provider_headwater.calls import Call
from airflow_provider_headwater.errors import CursorExpired, HeadwaterRefused, HeadwaterUnavailable

if TYPE_CHECKING:
    from typing_extensions import Self

_RETRYABLE = frozenset({408, 425, 429})
#: The most of a foreign error page that goes into a message, in characters.
_LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class Server:
    """Where a server is, and how patient to be with it.

    :ivar url: its address, such as ``https://headwater.example.com:3030``.
    :ivar token: the bearer token, if it asks for one.
    :ivar ca_file: a PEM file of certificate authorities to trust instead of the system's.
    :ivar timeout: seconds that an answer may take.
    :ivar attempts: how often a call is sent at most.
    :ivar longest_pause: seconds to pause between two attempts at most. A server that asks for more is left to
        Airflow's retries, which do not keep a worker busy meanwhile.
    """

    url: str
    token: str | None = None
    ca_file: str | None = None
    timeout: float = 60
    attempts: int = 4
    longest_pause: float = 30

    def options(self) -> dict[str, Any]:
        """The options for a client of httpx.

        :raises AirflowFailException: if the address or the authorities are of no use.
        """
        try:
            address = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise AirflowFailException(f"the server's address {self.url!r} is not a URL: {error}") from error
        if address.scheme not in {"http", "https"} or not address.host:
            raise AirflowFailException(f"the server's address {self.url!r} is not one of http:// or https:// and a host")
        headers = {"User-Agent": f"airflow-provider-headwater/{__version__}"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        verify: bool | ssl.SSLContext = True
        if self.ca_file:
            try:
                verify = ssl.create_default_context(cafile=self.ca_file)
            except OSError as error:
                why = f"no certificate authorities can be read from {self.ca_file!r}: {error}"
                raise AirflowFailException(f"{why}. ca_file is a PEM file on the machine that runs the task") from error
        return {"base_url": address, "headers": headers, "verify": verify, "timeout": self.timeout}

    def request(self, call: Call) -> dict[str, Any]:
        """The arguments for httpx' ``request``."""
        arguments: dict[str, Any] = {"params": call.params, "headers": call.headers}
        if call.json is not None:
            arguments["json"] = call.json
        if call.wait:
            arguments["timeout"] = httpx.Timeout(self.timeout, read=self.timeout + call.wait)
        return arguments

    def pauses(self, call: Call) -> Iterator[float]:
        """Seconds to pause after each failed attempt but the last."""
        attempts = self.attempts if call.repeatable else 1
        for attempt in range(attempts - 1):
            # Jitter, so that tasks which failed together do not come back together.
            yield min(self.longest_pause, 0.5 * 2**attempt) * random.uniform(0.5, 1)


class Client:
    """Sends calls and waits. Use it as a context manager, so that its connections are closed."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._http = httpx.Client(**server.options())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._http.close()

    def run(self, call: Call) -> Any:
        """Return the answer's JSON.

        :raises HeadwaterUnavailable: if another try later can help.
        :raises HeadwaterRefused: if it cannot.
        """
        pauses = self.server.pauses(call)
        while True:
            failure: httpx.Response | httpx.TransportError
            try:
                failure = self._http.request(call.method, call.path, **self.server.request(call))
            except httpx.TransportError as error:
                failure = error
            if isinstance(failure, httpx.Response) and not _is_retryable(failure.status_code):
                return _answer(failure)
            time.sleep(_pause(self.server, call, failure, next(pauses, None)))


class AsyncClient:
    """Sends calls without blocking the event loop. Use it as an asynchronous context manager."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._http = httpx.AsyncClient(**server.options())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def run(self, call: Call) -> Any:
        """Return the answer's JSON; raises as :meth:`Client.run` does."""
        pauses = self.server.pauses(call)
        while True:
            failure: httpx.Response | httpx.TransportError
            try:
                failure = await self._http.request(call.method, call.path, **self.server.request(call))
            except httpx.TransportError as error:
                failure = error
            if isinstance(failure, httpx.Response) and not _is_retryable(failure.status_code):
                return _answer(failure)
            await asyncio.sleep(_pause(self.server, call, failure, next(pauses, None)))


def _is_retryable(status: int) -> bool:
    return status in _RETRYABLE or status >= 500


def _pause(server: Server, call: Call, failure: httpx.Response | httpx.TransportError, pause: float | None) -> float:
    """Seconds until the next attempt; raises if there is none."""
    told = _retry_after(failure.headers) if isinstance(failure, httpx.Response) else None
    if pause is None or (told is not None and told > server.longest_pause):
        cause = failure if isinstance(failure, httpx.TransportError) else None
        raise HeadwaterUnavailable(_what_failed(server, call, failure, told), retry_after=told) from cause
    return max(pause, told or 0)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, also where the header has a date."""
    text = headers.get("Retry-After")
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _what_failed(server: Server, call: Call, failure: httpx.Response | httpx.TransportError, told: float | None) -> str:
    request = f"{call.method} {call.path}"
    if isinstance(failure, httpx.TransportError):
        why = str(failure) or type(failure).__name__
        return f"{server.url} cannot be reached for {request}: {why}. Is it running, and is the connection's server right?"
    after = "" if told is None else f", and asks to be left alone for {told:.0f} s"
    return f"{server.url} answered {request} with {failure.status_code}{after}: {_error(failure)['message']}"


def _error(response: httpx.Response) -> dict[str, Any]:
    """The server's error, or one made of what something in between says."""
    try:
        error = response.json()["error"]
        return {"code": str(error["code"]), "message": str(error["message"]), "details": error.get("details")}
    except (ValueError, KeyError, TypeError):
        text = " ".join(response.text.split())[:_LONGEST_MESSAGE]
        return {"code": f"http-{response.status_code}", "message": text or response.reason_phrase, "details": None}


def _answer(response: httpx.Response) -> Any:
    if response.is_success:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            why = f"{response.request.url} did not answer with JSON: is this a Headwater server?"
            raise HeadwaterRefused(why, status=response.status_code, code="not-json") from error
    said = _error(response)
    kind = CursorExpired if response.status_code == 410 else HeadwaterRefused
    details = said["details"] if isinstance(said["details"], dict) else None
    message = f"{said['message']} ({response.status_code} {said['code']})"
    raise kind(message, status=response.status_code, code=said["code"], details=details)
