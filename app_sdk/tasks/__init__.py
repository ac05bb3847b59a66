"""Python tasks: functions that are declared in one program, sent from others, and run by workers."""
