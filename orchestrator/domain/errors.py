"""The errors that use cases raise. No HTTP here: `api/errors.py` maps the classes to status codes.

A docstring says when the error is raised; the message given at the place says what to do next.
"""


class OrchestratorError(Exception):
    """The root of the tree."""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class IllegalMove(OrchestratorError):
    """A move outside the life cycle's table: a fault of ours, never of the caller."""


class NotFound(OrchestratorError):
    """There is no such thing in this workspace; what belongs to another one does not exist."""


class Invalid(OrchestratorError):
    """The input is not acceptable; the fact `field` names the place (a JSON path)."""


class Conflict(OrchestratorError):
    """The present state does not allow it; the facts name what stands in the way."""


class Gone(OrchestratorError):
    """It came too late: what it was meant for is over for good."""


class AlreadyRunning(Conflict):
    """The overlap policy refuses a launch; the fact `execution_id` names the one in the way."""


class ClaimRefused(OrchestratorError):
    """A pull executor names a claim that does not hold any more, or asks what its task's status does not allow.

    The fact `reason` says which, in a word.
    """


class Forbidden(OrchestratorError):
    """The token's role does not allow it."""


class Unauthenticated(OrchestratorError):
    """There is no valid token."""


class TooLarge(OrchestratorError):
    """The input is over a limit; the message names the limit in bytes."""


class StateRefused(OrchestratorError):
    """The data refuse an otherwise valid answer: a non-number is incremented, a state is over its limit."""


class WrongMasterKey(OrchestratorError):
    """The master key is not the one that the database's secrets were encrypted with."""


class DatabaseBusy(OrchestratorError):
    """Another server holds this data directory."""


class DatabaseUnavailable(OrchestratorError):
    """The database is away, full or overloaded: nothing was committed, or nobody knows; to be tried again."""


class CommitUnknown(DatabaseUnavailable):
    """The connection was lost in the commit: what was asked for may have been done, or not."""


class DatabaseOutdated(OrchestratorError):
    """The schema is not this version's; `orchestrator db upgrade` brings it there."""
