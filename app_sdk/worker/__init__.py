"""Workers: processes that fetch Python tasks and run them, each task in a process beneath, one at a time.

The parent speaks with the server, and never runs what a task brings along: a task that blocks, crashes or takes all
memory ends its own process, while the parent goes on saying that it is alive, or tells how it ended.
"""
