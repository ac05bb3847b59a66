"""A self-hosted task orchestrator: it runs durable tasks by calling an app's webhook, step by step."""

from importlib.metadata import version

__version__ = version("webhook-orchestrator")
