"""Apps to read, to run and to start from; each imports app_sdk and nothing of the orchestrator."""
