"""A package of Python tasks, as an application would have it."""
