"""Real faults on real processes: kills at named points, storms, disasters of the database, full disks.

    python -m tests.chaos [--short] [--seed N] [--only kill,storm,…] [--report docs/reliability.md]

`failpoints` says where a process can be killed, `zygote` boots servers in a fraction of a second, `kill_matrix`,
`storm`, `slots` and `disk_full` are the scenarios, `report` writes what came of them. Every history is decided by
`tests.history`, which shares no code with the product.
"""
