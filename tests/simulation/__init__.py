"""Several nodes of the engine in one thread and in virtual time, with every fault drawn from one seed.

The nodes, their loops, the use cases and the SQL are the product's own; the clock, the network, the connection to the
database and the processes are simulated. An oracle of the simulation's own watches what is sent and committed.
"""
