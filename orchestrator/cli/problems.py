"""From a server's refusal to a command's error: the exit code, the words, and what to do next."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import httpx

from orchestrator.cli.failures import CommandError, Missing, Refused, Unreachable
from orchestrator.cli.formats import JsonObject, one_line

PROBLEM_TYPE = "application/problem+json"

_LAUNCH_SEGMENTS = 2

# The first part of a path below /v1 -> what shows which of them there are.
_LISTS = {
    "apps": "orchestrator app list",
    "executions": "orchestrator exec list",
    "import-batches": "orchestrator import list",
    "tasks": "orchestrator task list",
    "tokens": "orchestrator token list",
    "subscriptions": "orchestrator subscription list",
    "workspaces": "orchestrator workspace list",
}


def unreachable(url: str, error: httpx.HTTPError) -> Unreachable:
    """The error of a request that got no answer."""
    what = "took too long to answer" if isinstance(error, httpx.ReadTimeout) else "cannot be reached"
    reason = one_line(error) or type(error).__name__
    return Unreachable(
        f"{url} {what}: {reason}",
        "Start a server with `orchestrator serve`, or name the one you mean: --url or ORCHESTRATOR_URL.",
        "`orchestrator doctor` looks into it.",
    )


def refusal(url: str, segments: Sequence[str], response: httpx.Response) -> CommandError:
    """The error of an answer that is not a success; its body has been read."""
    status = response.status_code
    problem = _problem(response)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unreachable(
            f"{url} answered {status}: {_words(problem, response)}",
            "The server's log says more; try again later.",
        )
    if problem is None and status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return not_an_orchestrator(url, f"it answered {status} to {response.request.method} /{'/'.join(segments)}")
    words = _words(problem, response)
    facts = problem or {}
    if status == HTTPStatus.NOT_FOUND:
        return Missing(words, *_where_to_look(segments))
    return Refused(words, *_field_lines(facts), *_next_steps(status, facts), facts=facts)


def not_an_orchestrator(url: str, reason: str) -> Unreachable:
    """The error of an answer that no orchestrator would give."""
    return Unreachable(
        f"what answers at {url} is not an orchestrator: {reason}",
        "Check the address: --url, ORCHESTRATOR_URL, or cli.url in config.toml.",
    )


def _problem(response: httpx.Response) -> JsonObject | None:
    if response.headers.get("content-type", "").partition(";")[0].strip() != PROBLEM_TYPE:
        return None
    try:
        document = json.loads(response.content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _words(problem: JsonObject | None, response: httpx.Response) -> str:
    if problem is None:
        return response.reason_phrase or "no reason given"
    title = one_line(problem.get("title"))
    errors = _errors(problem)
    if len(errors) > 1:
        return title or "the request is not acceptable"
    words = one_line(problem.get("detail")) or title or response.reason_phrase
    return f"{errors[0][0]}: {words}" if errors and errors[0][0] not in words else words


def _field_lines(facts: Mapping[str, object]) -> list[str]:
    errors = _errors(facts)
    return [f"{field}: {message}" for field, message in errors] if len(errors) > 1 else []


def _errors(problem: Mapping[str, object]) -> list[tuple[str, str]]:
    """The fields that are at fault, each with what is wrong."""
    given = problem.get("errors")
    errors = [error for error in given if isinstance(error, Mapping)] if isinstance(given, list) else []
    return [(one_line(error.get("field")), one_line(error.get("message"))) for error in errors]


def _where_to_look(segments: Sequence[str]) -> list[str]:
    noun = segments[1] if len(segments) > 1 else ""
    # What a launch names, and may be missing, is its task.
    if "tasks" in segments or (noun == "executions" and len(segments) == _LAUNCH_SEGMENTS):
        noun = "tasks"
    return [f"See which there are: {_LISTS[noun]}"] if noun in _LISTS else []


def _next_steps(status: int, facts: Mapping[str, object]) -> list[str]:
    if status == HTTPStatus.UNAUTHORIZED:
        return [
            "Give a token with --token or ORCHESTRATOR_TOKEN.",
            "A local server's is found by itself in its data directory (server.data_dir).",
        ]
    if status == HTTPStatus.FORBIDDEN:
        return ["Use a token of a role that may: orchestrator token create NAME --role operator (or admin)"]
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return ["Try again in a while."]
    steps = []
    if execution_id := one_line(facts.get("execution_id")):
        steps.append(f"Follow it: orchestrator exec watch {execution_id}")
        steps.append(f"Or end it: orchestrator exec abort {execution_id}")
    if batch := one_line(facts.get("batch")):
        steps.append(f"Deliver it again: orchestrator import redeliver {batch}")
        steps.append(f"Or give it up: orchestrator import discard {batch}")
    return steps
