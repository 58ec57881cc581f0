"""Retries of commits that lost against another writer."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt

from pipeline.errors import StoreError


def retry_on_conflict(attempt: Callable[[], bool], *, attempts: int, give_up: str) -> None:
    """Call `attempt` until it returns True; False means that another writer committed first.

    Waits are random and grow with the number of attempts, so that writers do not meet again.

    Raises:
        StoreError: with the message `give_up`, after that many attempts.
    """

    def fail(_: RetryCallState) -> None:
        raise StoreError(give_up)

    Retrying(
        retry=retry_if_result(operator.not_),
        stop=stop_after_attempt(attempts),
        wait=lambda state: random.uniform(0, 0.02 * state.attempt_number),  # noqa: S311 - jitter, not secrecy
        retry_error_callback=fail,
    )(attempt)
