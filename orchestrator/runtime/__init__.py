"""The composition root: the one place that builds the parts, hands each its options, and starts and stops them."""

import sys

if "rich" not in sys.modules:
    # structlog loads Rich where it is installed, for tracebacks that we do not print: a twentieth of a start.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog as structlog

    del sys.modules["rich"]
