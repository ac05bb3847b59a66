"""The wire contract between the orchestrator and its apps: JSON, signatures, manifests, payloads, answers."""
