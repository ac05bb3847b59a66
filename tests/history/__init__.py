"""The history checker: decides from what witnesses saw, and from the final database, whether a run kept its promises.

It shares no code with the product: its own reading of JSON, of signatures and of the tables. Run it with

    python -m tests.history --dump URL --app-log F --collector-log F --client-log F --fault-log F --secret S

It prints its findings and exits 1 if there are any. `rules` says what each rule decides; `witness` has an app, a
collector and a client that write these logs.

The logs
--------
Every log has one JSON object to a line, written with O_APPEND by one process, so that the order of its lines is the
order in which things happened there. A last line that was torn by a crash is passed over. `at`, `begin` and `end` are
seconds of the machine's monotonic clock, which every witness on a machine shares and no clock fault moves.

App log (`--app-log`, one for each app process): three kinds of lines, told apart by `event`.

    {"event": "request", "id": 7, "at": 12.5, "method": "POST", "path": "/webhooks", "host": "127.0.0.1:4242",
     "headers": {"webhook-id": "…", "idempotency-key": "…", …}, "body": "…"}
    {"event": "answer",  "id": 7, "at": 12.6, "status": 200, "body": "…"}
    {"event": "silence", "id": 7, "at": 12.6, "why": "hang"}

A request is logged, raw, before anything is done about it; an answer before its first byte is sent. `id` numbers the
requests of all the app logs of a run. An answer whose JSON has the field `witness` (the product must keep fields that
it does not know in the record of the call) is recognised by it; without it, the checker compares contents.

Collector log (`--collector-log`; without it, the built-in collector's tables are read): one line for each delivery.

    {"event": "delivery", "at": 13.0, "host": "…", "headers": {…}, "body": "…", "taken": true, "status": 200}

`taken` says whether the collector keeps the items; `status` is None where it gave no answer.

Client log (`--client-log`): one line for each call of the API, written when its outcome is known.

    {"event": "call", "op": "launch", "begin": 1.0, "end": 1.1, "key": "…" or null, "asked": {…},
     "outcome": "ok", "status": 201, "answered": {…}}

`key` is the Idempotency-Key. `outcome`: ok (2xx), refused (an answer that says that nothing was done), unknown (no
answer, or a 5xx). What the checker reads of `asked` and `answered`:

    launch           asked {id?, task_id, state?}                    answered {id, …}
    resume           asked {execution_id, call, id?}                 answered {id, …}
    abort, retry     asked {execution_id}                            answered the execution
    read             asked {execution_id}                            answered the execution with its workers
    mutate           asked {app_id, mutations}
    discard          asked {batch}
    pull.claim                                                       answered {tasks: [{id, execId}]}
    pull.start, pull.notify, pull.success, pull.fail  asked {id, execId, …}
    callback         asked {execution_id, worker_id, step, status, output}

where the `step` of a callback is the one whose answer parked the worker. Any other op counts for availability alone.

Fault log (`--fault-log`): what the chaos runner did, and when: {"begin": 4.0, "end": 9.5, "what": "kill -9 node 2"}.
"""
