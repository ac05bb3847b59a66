"""Which role may do what. An operation that is not in the table is allowed to nobody."""

from collections.abc import Mapping

from orchestrator.service.tokens import Role

_ADMINS = frozenset({Role.ADMIN})
_OPERATORS = _ADMINS | {Role.OPERATOR}
_READERS = _OPERATORS | {Role.VIEWER}
# An app's own token sees and moves only what is its app's.
_OPERATORS_AND_APPS = _OPERATORS | {Role.APP}
_READERS_AND_APPS = _READERS | {Role.APP}

ALLOWED: Mapping[str, frozenset[Role]] = {
    "install_app": _ADMINS,
    "list_apps": _READERS,
    "get_app": _READERS,
    "update_app": _ADMINS,
    "delete_app": _ADMINS,
    "activate_app": _OPERATORS,
    "stop_app": _OPERATORS,
    "rotate_app_secret": _ADMINS,
    "get_app_state": _READERS,
    "change_app_state": _OPERATORS,
    "list_tasks": _READERS_AND_APPS,
    "register_tasks": _ADMINS | {Role.APP, Role.EXECUTOR},
    "get_task": _READERS_AND_APPS,
    "run_task": _OPERATORS_AND_APPS,
    "pause_task": _OPERATORS,
    "resume_task": _OPERATORS,
    "list_occurrences": _READERS_AND_APPS,
    "create_simple_task": _OPERATORS_AND_APPS,
    "get_simple_task": _READERS_AND_APPS,
    "retry_simple_task": _OPERATORS_AND_APPS,
    "launch_execution": _OPERATORS_AND_APPS,
    "list_executions": _READERS_AND_APPS,
    "get_execution": _READERS_AND_APPS,
    "change_execution": _OPERATORS_AND_APPS,
    "abort_execution": _OPERATORS_AND_APPS,
    "retry_execution": _OPERATORS_AND_APPS,
    "resume_execution": _OPERATORS_AND_APPS,
    "call_back": _OPERATORS_AND_APPS,
    "set_task_subtext": _OPERATORS_AND_APPS,
    "purge_executions": _ADMINS,
    "list_calls": _READERS_AND_APPS,
    "list_logs": _READERS_AND_APPS,
    "watch_execution": _READERS_AND_APPS,
    "list_import_batches": _READERS,
    "redeliver_import_batch": _OPERATORS,
    "discard_import_batch": _OPERATORS,
    "list_collected_items": _READERS,
    "create_subscription": _ADMINS,
    "list_subscriptions": _READERS,
    "get_subscription": _READERS,
    "change_subscription": _OPERATORS,
    "delete_subscription": _ADMINS,
    "replay_subscription": _OPERATORS,
    "list_deliveries": _READERS,
    "watch_events": _READERS_AND_APPS,
    "create_token": _ADMINS,
    "list_tokens": _ADMINS,
    "revoke_token": _ADMINS,
    "list_workspaces": _ADMINS,
    "create_workspace": _ADMINS,
    "get_workspace_secret": _ADMINS,
    "rotate_workspace_secret": _ADMINS,
    "get_status": _READERS,
    "list_nodes": _READERS,
}

# The methods of POST /rpc, which are no operations of the native API.
_EXECUTORS = _OPERATORS_AND_APPS | {Role.EXECUTOR}
_WATCHERS = _READERS_AND_APPS | {Role.EXECUTOR}
METHODS: Mapping[str, frozenset[Role]] = {
    "awf.task/poll": _EXECUTORS,
    "awf.task/long-poll": _EXECUTORS,
    "awf.task/start": _EXECUTORS,
    "awf.task/notify": _EXECUTORS,
    "awf.task/success": _EXECUTORS,
    "awf.task/fail": _EXECUTORS,
    "awf.task/create-and-execute": _OPERATORS_AND_APPS,
    "awf.task/cancel": _OPERATORS_AND_APPS,
    "awf.task/status": _WATCHERS,
    "awf.task/list": _WATCHERS,
}


def may(role: Role, operation: str) -> bool:
    """Whether the role may do the operation, by its `operationId`, or call the method, by its name."""
    return role in ALLOWED.get(operation, METHODS.get(operation, frozenset()))
