"""Witnesses: programs that take part in a run and log what they see, in the formats that `tests.history` describes.

    python -m tests.history.witness.app --log app.jsonl --secret whsec_…
    python -m tests.history.witness.collector --log collector.jsonl

Both listen on loopback, on any free port unless `--port` names one, and print their URL when they are ready.
`client.RecordingClient` logs the calls of the API that are made through it.
"""
