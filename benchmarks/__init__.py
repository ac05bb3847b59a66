"""What the orchestrator costs, beside what others would have cost: `make bench`, or `python -m benchmarks.<part>`."""
