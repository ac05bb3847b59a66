"""What the witness app does, step by step: a pure function of the payload, so that any run can be repeated.

The input of worker 0 is the plan, all of it optional:

    helpers      how many workers it spawns, at most 9 (0: it does the steps itself)
    rounds       how often it spawns them anew, each time for `steps` more (1)
    steps        how many steps each does (10)
    items        how many items each step imports (2)
    keys         how many keys of its own a worker sets, in turn (1); worker 0 deletes those of its helpers at its end
    delay_secs   what it asks to wait between its steps (0)
    think_secs   what the app takes for each answer (0)
    seed         of the plan's dice (0)
    faults       {kind: share of calls}: error (is_error, closes the step), status (503), garbage (no JSON),
                 reset (the connection is cut), hang (as reset, after `hang_secs`), late (answers after `late_secs`)
    hang_secs, late_secs   (30, 1)
    fail_at      the step at which a worker gives up for good, on its first try (never)
"""

import random
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

KINDS = ("error", "status", "garbage", "reset", "hang", "late")


@dataclass(frozen=True, slots=True)
class Deed:
    """What the app does about a call: the answer, or none; `wait_secs` before it; `why` where there is no answer."""

    answer: Json | None
    status: int = 200
    wait_secs: float = 0.0
    why: str = ""


def decide(turn: Json, mark: int) -> Deed:
    """The deed of one call; `turn` is the payload's task_exec_worker, `mark` the number of the request."""
    state = turn["worker_state"]
    plan = state.get("plan", state)
    dice = random.Random(f"{plan.get('seed', 0)}:{_place(turn)}:{turn['retry_count']}")
    kind = _drawn(dice, plan.get("faults", {}))
    wait = float(plan.get("think_secs", 0))
    match kind:
        case "status":
            return Deed({"message": "planned"}, status=503, wait_secs=wait)
        case "garbage":
            return Deed(None, wait_secs=wait)
        case "reset":
            return Deed(None, status=0, wait_secs=wait, why="reset")
        case "hang":
            return Deed(None, status=0, wait_secs=float(plan.get("hang_secs", 30)), why="hang")
        case "error":
            retry = {"is_error": True, "delay_next_request_in_secs": 0, "message": "planned"}
            return Deed({**retry, **_mutations(turn, {"errors": 1}), "witness": mark}, wait_secs=wait)
        case "late":
            wait += float(plan.get("late_secs", 1))
        case _:
            pass
    return Deed({**_turn(turn, plan), "witness": mark}, wait_secs=wait)


def _drawn(dice: random.Random, shares: Json) -> str | None:
    number = dice.random()
    for kind in KINDS:
        number -= float(shares.get(kind, 0))
        if number < 0:
            return kind
    return None


def _turn(turn: Json, plan: Json) -> Json:
    if turn["worker_id"] == 0 and plan.get("helpers"):
        return _lead(turn, plan)
    return _work(turn, plan)


def _lead(turn: Json, plan: Json) -> Json:
    """Worker 0 spawns helpers, waits for them, and ends with the last round."""
    state = turn["worker_state"]
    round_ = int(state.get("round", 0))
    if round_ and "worker_results" in turn and any(one["status"] != "done" for one in turn["worker_results"].values()):
        return {"is_done": True, "is_error": True, "message": "a helper has not come to its end"}
    if round_ == int(plan.get("rounds", 1)):
        return {"is_done": True, "message": f"{round_} rounds", **_tidied(turn, plan)}
    helpers = [
        {"worker_id": worker_id, "initial_state": {"plan": plan, "left": plan.get("steps", 10), "round": round_}}
        for worker_id in range(1, int(plan["helpers"]) + 1)
    ]
    return {
        "updated_worker_state": {"plan": plan, "round": round_ + 1},
        "new_workers": helpers,
        "wait_for_workers": True,
        **_mutations(turn, {"rounds": 1}),
    }


def _work(turn: Json, plan: Json) -> Json:
    """One step: count, set an own key, import items."""
    state = turn["worker_state"]
    left = int(state.get("left", plan.get("steps", 10))) - 1
    if turn["step"] == plan.get("fail_at") and not turn["retry_count"]:
        return {"is_done": True, "is_error": True, "message": "planned to fail here"}
    items = [
        {"kind": "receipt", "receipt": {"external_id": f"{_place(turn)}:{number}"}}
        for number in range(int(plan.get("items", 2)))
    ]
    answer: Json = {
        "updated_worker_state": {**state, "plan": plan, "left": left, "at": turn["step"] + 1},
        "items_to_import": items,
        "is_done": left <= 0,
        **_mutations(turn, {"steps": 1}, plan.get("keys", 1)),
    }
    if left > 0 and plan.get("delay_secs"):
        answer["delay_next_request_in_secs"] = plan["delay_secs"]
    return answer


def _tidied(turn: Json, plan: Json) -> Json:
    """Delete what the helpers have set: the app state is sent with every call, and must not grow with each launch."""
    last = _mutations(turn, {"leaders": 1})
    last["app_state_mutations"] += [
        {"operation": "delete", "key": _own_key(turn["task_exec_id"], worker_id, key)}
        for worker_id in range(1, int(plan["helpers"]) + 1)
        for key in range(plan.get("keys", 1))
    ]
    return last


def _mutations(turn: Json, counts: dict[str, int], keys: int = 0) -> Json:
    own = _own_key(turn["task_exec_id"], turn["worker_id"], turn["step"] % keys) if keys else None
    mutations: list[Json] = [{"operation": "increment", "key": key, "value": by} for key, by in counts.items()]
    if own is not None:
        mutations.append({"operation": "set", "key": own, "value": turn["step"]})
        # A key that all write: the last one wins.
        mutations.append({"operation": "set", "key": "latest", "value": _place(turn)})
    return {"app_state_mutations": mutations}


def _own_key(execution_id: str, worker_id: int, number: int) -> str:
    return f"{execution_id}/{worker_id}/{number}"


def _place(turn: Json) -> str:
    return f"{turn['task_exec_id']}:{turn['worker_id']}:{turn['step']}"
