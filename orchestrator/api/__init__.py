"""The native REST API: a thin translation of HTTP onto the use cases in `service`."""
