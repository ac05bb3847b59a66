"""The pure part: states, decisions and arithmetic. No I/O, no clock, no randomness: they are arguments."""
