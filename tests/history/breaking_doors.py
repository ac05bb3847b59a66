"""Bad histories about what was promised at the doors: pull tasks, callbacks, the API. I12 to I14."""

from tests.history.breaking import breaks, request
from tests.history.dump import CallbackRow
from tests.history.json_lines import digest
from tests.history.signed_lines import resend
from tests.history.story import Story
from tests.history.tales import busy, call_back, called_back, failed_and_retried, pulled, told_twice, unknown_outcomes


@breaks("I12")
def a_result_is_accepted_under_a_stale_exec_id() -> Story:
    story = pulled()
    next(line for line in story.clients if line["outcome"] == "refused")["outcome"] = "ok"
    return story


@breaks("I12")
def an_exec_id_is_handed_out_twice() -> Story:
    story = pulled()
    story.client("pull.claim", {}, "ok", {"tasks": [{"id": "t1", "execId": "x2"}]})
    return story


@breaks("I12")
def a_result_is_accepted_under_an_unknown_exec_id() -> Story:
    story = pulled()
    story.client("pull.success", {"id": "t1", "execId": "x3", "result": 3})
    return story


@breaks("I12")
def a_task_is_started_with_the_exec_id_of_another() -> Story:
    story = pulled()
    story.client("pull.start", {"id": "t2", "execId": "x2"})
    return story


@breaks("I12")
def two_results_are_accepted_under_one_exec_id() -> Story:
    story = pulled()
    story.client("pull.fail", {"id": "t1", "execId": "x2", "error": "no"})
    return story


@breaks("I13")
def two_different_callbacks_are_accepted() -> Story:
    story = called_back()
    call_back(story, "ok", page=2)
    return story


@breaks("I13")
def the_next_step_does_not_know_of_the_callback() -> Story:
    story = called_back()
    resend(request(story, 0, 1), callback=None)
    return story


@breaks("I13")
def the_next_step_carries_a_callback_that_was_refused() -> Story:
    story = called_back()
    for line in story.clients:
        if line["op"] == "callback":
            line["outcome"] = "refused"
    return story


@breaks("I13")
def a_callback_is_reflected_again() -> Story:
    story = called_back()
    story.launch("e2")
    asked = story.ask("e2", 0, callback={"status": "SUCCESS", "output": {"page": 1}})
    story.apply(asked, story.answer(asked, {"is_done": True}))
    return story


@breaks("I13")
def an_accepted_callback_changes_nothing() -> Story:
    story = Story()
    story.launch("e1")
    story.step("e1", 0, await_callback={})
    story.worker("e1", 0).status = "awaiting"
    call_back(story, "ok", page=1)
    return story


@breaks("I13")
def a_callback_that_was_kept_is_forgotten() -> Story:
    story = called_back()
    story.dump.callbacks.append(CallbackRow(story.execution("e1").pk, 0, 0, "kept"))
    return story


@breaks("I13")
def a_callback_is_told_again_though_there_was_no_error() -> Story:
    return told_twice(is_error=False)


@breaks("I14")
def an_acknowledged_launch_is_not_there() -> Story:
    story = busy()
    story.client("launch", {"id": "e2", "state": {}}, "ok", {"id": "e2"})
    return story


@breaks("I14")
def a_refused_launch_is_there() -> Story:
    story = busy()
    story.create("e2", {})
    story.client("launch", {"id": "e2", "state": {}}, "refused")
    # Only the refusal is wrong about it.
    story.client("launch", {"state": {}}, "unknown")
    return story


@breaks("I14")
def an_unknown_launch_is_there_by_halves() -> Story:
    story = unknown_outcomes()
    story.execution("e1").seeds = None
    return story


@breaks("I14")
def a_launched_worker_is_missing() -> Story:
    story = busy()
    story.launch("e2")
    del story.dump.workers[story.execution("e2").pk, 0]
    story.execution("e2").open_workers = 0
    story.execution("e2").status, story.execution("e2").ended_at = "aborted", 1
    return story


@breaks("I14")
def a_worker_has_no_state() -> Story:
    story = busy()
    story.worker("e1", 2).state = None
    return story


@breaks("I14")
def an_execution_was_asked_for_by_nobody() -> Story:
    story = busy()
    story.create("e2", {})
    return story


@breaks("I14")
def one_key_was_answered_with_two_executions() -> Story:
    story = busy()
    story.launch("e2", key="k1")
    story.launch("e3", key="k1")
    return story


@breaks("I14")
def an_execution_has_another_input() -> Story:
    story = busy()
    story.execution("e1").input = digest({"shop": 8})
    return story


@breaks("I14")
def an_acknowledged_retry_has_not_happened() -> Story:
    story = busy()
    story.client("retry", {"execution_id": "e1"})
    return story


@breaks("I14")
def an_attempt_was_asked_for_by_nobody() -> Story:
    story = failed_and_retried()
    story.clients = [line for line in story.clients if line["op"] != "retry"]
    return story
