"""Tables and statements: the only layer with SQL. It decides nothing; `service` does, with `domain`."""
