"""What a call's outcome means: the status-code table of the protocol, line by line."""

from dataclasses import dataclass

from app_sdk.protocol.answer import Answer, AnswerError, read_answer
from app_sdk.protocol.frozen import frozen
from app_sdk.protocol.limits import Limits
from orchestrator.domain.outcome import FailureKind, NoResponse, Response, Unsuccessful

RETRY_AFTER_STATUSES = frozenset({408, 425, 429})


@frozen
class Answered:
    """A valid answer: the step can be applied."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No valid answer. `stops_app`: the app asked (410) never to be called again."""

    kind: FailureKind
    call: Unsuccessful
    stops_app: bool = False


Meaning = Answered | Unanswered


def classify(outcome: Response | NoResponse, limits: Limits) -> Meaning:
    """Decide what `outcome` means; never raises, whatever the bytes."""
    if isinstance(outcome, NoResponse):
        is_lost = outcome.kind is FailureKind.LOST
        call = Unsuccessful(outcome.message, is_answered=False, is_sent=outcome.sent, is_lost=is_lost)
        return Unanswered(outcome.kind, call)
    if 200 <= outcome.status < 300:
        return _read(outcome.body, limits)
    return _by_status(outcome)


def refusal(message: str) -> Unanswered:
    """What a valid answer becomes when the data refuse it: nothing is applied, the worker has failed at once."""
    return Unanswered(FailureKind.INVALID_BODY, Unsuccessful(f"refused: {message}", is_final=True))


def _read(body: bytes, limits: Limits) -> Meaning:
    try:
        return Answered(read_answer(body, limits))
    except AnswerError as error:
        return Unanswered(FailureKind.INVALID_BODY, Unsuccessful(f"invalid answer: {error}"))


def _by_status(response: Response) -> Unanswered:
    status = response.status
    message = str(response)
    if status == 410:
        return Unanswered(FailureKind.STATUS, Unsuccessful(message, is_final=True), stops_app=True)
    if status == 400:
        return Unanswered(FailureKind.STATUS, Unsuccessful(message, is_final=True))
    if 300 <= status < 400:
        return Unanswered(FailureKind.REDIRECT, Unsuccessful(f"{message}: redirects are not followed"))
    honoured = status in RETRY_AFTER_STATUSES or status >= 500
    retry_after = response.retry_after if honoured else None
    return Unanswered(FailureKind.STATUS, Unsuccessful(message, retry_after=retry_after))
