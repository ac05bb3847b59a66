"""The rules, by their names in the reliability plan; each takes a history and gives its findings.

    I1   every step is applied at most once, and the steps of a worker follow each other from 0
    I2   what was applied is an answer that the app really gave for that step
    I3   no call of step n+1 reaches the app before it gave the answer that was applied to step n
    I4   all calls of a step carry one key, and no key serves two steps
    I5   replaying what was applied gives exactly the stored app state
    I6   every call carries, and at the end every worker has, the state that its applied answers left
    I7   the collector has exactly the items of applied steps; what came twice has the same key and content
    I8   no two live claims on one worker: tokens and steps grow together
    I9   an execution has ended if and only if its workers have; an end is an end
    I10  nothing is applied after an abort was acknowledged
    I11  each slot of a schedule is one execution, or a recorded reason
    I12  one claimant for a pull task; a result counts only with the present execId
    I13  a callback that was acknowledged is reflected once
    I14  what a client asked for is wholly there or not at all
    I15  every request carries valid signatures, and goes where it should

Beside them: `availability`, which declares a run void in which too little worked outside of the fault windows; and
`convergence`, for runs that were given the time to come to rest.
"""

from collections.abc import Callable, Iterable, Mapping

from tests.history.findings import Finding
from tests.history.history import History
from tests.history.rules import (
    aborts,
    app_states,
    callbacks,
    claims,
    clients,
    endings,
    imports,
    keys,
    liveness,
    pulls,
    requests,
    schedules,
    steps,
    worker_states,
)

Rule = Callable[[History], Iterable[Finding]]

RULES: Mapping[str, Rule] = {
    "I1": steps.each_once,
    "I2": steps.really_answered,
    "I3": steps.in_order,
    "I4": keys.one_for_a_step,
    "I5": app_states.replayed,
    "I6": worker_states.as_applied,
    "I7": imports.exactly_those_applied,
    "I8": claims.fenced,
    "I9": endings.consistent,
    "I10": aborts.final,
    "I11": schedules.each_slot_once,
    "I12": pulls.one_claimant,
    "I13": callbacks.reflected_once,
    "I14": clients.whole_or_absent,
    "I15": requests.signed,
    "availability": liveness.available,
}
"""Every rule that holds at any moment of any run."""
