"""Use cases, one transaction each. They load under locks, let `domain` decide, and write through `store`."""
