"""The command line, against the shapes of the native API."""
