"""What can go wrong, sorted by whether another try can help."""

from __future__ import annotations

from functools import partial
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException


class HeadwaterUnavailable(AirflowException):
    """The server cannot be reached or cannot answer now. Another try can help, so Airflow's own retries apply.

    :ivar retry_after: seconds for which the server asks to be left alone, if it does.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), retry_after=self.retry_after), self.args


class HeadwaterRefused(AirflowFailException):
    """The server refuses the request as it is. Another try cannot help, so the task fails at once.

    :ivar status: the HTTP status.
    :ivar code: the server's word for the error, such as ``unknown-collection``.
    :ivar details: what the server adds for programs, by name.
    """

    def __init__(self, message: str, *, status: int, code: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details or {}

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), status=self.status, code=self.code, details=self.details), self.args


class CursorExpired(HeadwaterRefused):
    """The changes after a cursor are no longer kept, or the cursor is of another epoch.

    ``details`` has ``oldest`` and ``head``, the cursors from which changes can be had.
    """


class LakeDiffers(AirflowFailException):
    """The lake does not have what the records have. Repairing it can help, another look cannot."""


class DrillUnavailable(AirflowException):
    """Drill cannot be reached or cannot answer now. Another try can help, so Airflow's own retries apply."""


class DrillFailed(AirflowFailException):
    """Drill refused a statement or could not finish it."""
