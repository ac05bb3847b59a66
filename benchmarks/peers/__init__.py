"""The workload of the orchestrator, as other libraries do it: `python -m benchmarks.peers`.

A step is one signed POST of a lane's state to the app and the durable hand-over of the new state to the next step. Each
peer is written as its own documentation tells a careful user to, in a module of its own (`<name>_peer.py`), which runs
in an environment of its own (`.venv-peers`) and imports nothing of the orchestrator.
"""
