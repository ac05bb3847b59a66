"""The tests, a directory for each thing that they need."""
