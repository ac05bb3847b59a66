"""Files are zipped by a service that takes its time, and calls back when it is done."""
