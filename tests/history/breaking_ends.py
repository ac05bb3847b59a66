"""Bad histories about ends and aborts, and runs that prove nothing: I9, I10, availability."""

from tests.history.breaking import breaks
from tests.history.dump import Batch
from tests.history.story import Story
from tests.history.tales import aborted, aborted_and_retried, busy, failed_and_retried, interrupted


@breaks("I9")
def it_succeeded_before_its_last_worker_was_done() -> Story:
    story = busy()
    story.step("e1", 2)
    story.execution("e1").status = "succeeded"
    return story


@breaks("I9")
def it_goes_on_running_after_its_last_worker() -> Story:
    story = busy()
    story.execution("e1").status, story.execution("e1").ended_at = "running", None
    # No client has seen its end.
    story.clients = [line for line in story.clients if line["op"] != "read"]
    return story


@breaks("I9")
def it_succeeded_with_an_undelivered_batch() -> Story:
    story = busy()
    found = story.dump.batches[0]
    lane = (found.execution_pk, found.worker_id)
    story.dump.batches.append(Batch(*lane, 0, 9, "imp_e1_2_0_9", 0, "pending", b""))
    story.dump.workers[lane].undelivered += 1
    return story


@breaks("I9")
def it_ended_without_a_time() -> Story:
    story = busy()
    story.execution("e1").ended_at = None
    return story


@breaks("I9")
def its_open_workers_are_miscounted() -> Story:
    story = interrupted()
    story.execution("e1").open_workers -= 1
    return story


@breaks("I9")
def it_was_aborted_and_a_worker_goes_on() -> Story:
    story = aborted()
    story.worker("e1", 0).status = "ready"
    story.settle(story.execution("e1"))
    return story


@breaks("I9")
def it_fails_for_ever() -> Story:
    story = Story()
    story.launch("e1")
    story.step("e1", 0)
    story.execution("e1").failing = True
    return story


@breaks("I9")
def an_end_that_was_seen_is_undone() -> Story:
    story = failed_and_retried()
    next(line for line in story.clients if line["op"] == "read")["answered"]["attempt"] = 2
    return story


@breaks("I9")
def an_end_is_undone_between_two_looks() -> Story:
    story = busy()
    seen = story.read("e1")
    seen["answered"]["status"] = "failed"
    return story


@breaks("I9")
def a_worker_is_done_that_never_said_so() -> Story:
    story = Story()
    story.launch("e1")
    story.step("e1", 0)
    story.worker("e1", 0).status = "done"
    story.settle(story.execution("e1"))
    return story


@breaks("I9")
def a_worker_is_done_that_was_never_called() -> Story:
    story = busy()
    story.launch("e2")
    story.worker("e2", 0).status = "done"
    story.settle(story.execution("e2"))
    return story


@breaks("I9")
def a_done_worker_is_aborted() -> Story:
    story = aborted_and_retried()
    story.worker("e1", 1).status = "aborted"
    story.execution("e1").status = "aborted"
    story.clients = [line for line in story.clients if line["op"] not in ("abort", "read")]
    return story


@breaks("I9")
def a_failed_worker_is_done() -> Story:
    story = Story()
    story.launch("e1")
    story.step("e1", 0, is_done=True, is_error=True)
    story.worker("e1", 0).status, story.execution("e1").status = "done", "succeeded"
    return story


@breaks("I10")
def an_answer_in_flight_is_applied_after_the_abort() -> Story:
    story = Story()
    story.launch("e1")
    in_flight = story.ask("e1", 0)
    story.abort("e1")
    story.apply(in_flight, story.answer(in_flight, {}))
    story.worker("e1", 0).status = "aborted"
    story.settle(story.execution("e1"))
    return story


@breaks("I10")
def an_answer_in_flight_is_applied_after_a_retry() -> Story:
    story = Story()
    story.launch("e1")
    in_flight = story.ask("e1", 0)
    story.abort("e1")
    story.retry("e1")
    story.apply(in_flight, story.answer(in_flight, {"is_done": True}))
    return story


@breaks("I10")
def a_step_is_called_and_applied_after_the_abort() -> Story:
    story = Story()
    story.launch("e1")
    story.step("e1", 0)
    story.abort("e1")
    story.step("e1", 0)
    story.worker("e1", 0).status = "aborted"
    story.settle(story.execution("e1"))
    return story


@breaks("I10")
def an_answer_given_before_the_abort_is_applied_after_it() -> Story:
    """The logs of the app do not show it, but a client has read the step in between."""
    story = Story()
    story.launch("e1")
    in_flight = story.ask("e1", 0)
    said = story.answer(in_flight, {})
    story.abort("e1")
    story.read("e1")
    story.apply(in_flight, said)
    story.worker("e1", 0).status = "aborted"
    story.settle(story.execution("e1"))
    return story


@breaks("I10")
def an_aborted_execution_succeeds() -> Story:
    story = Story()
    story.launch("e1")
    story.step("e1", 0, is_done=True)
    story.client("abort", {"execution_id": "e1"})
    return story


@breaks("availability")
def half_of_the_calls_were_never_answered() -> Story:
    story = busy()
    for line in story.clients:
        if line["op"] == "health":
            line["outcome"] = "unknown"
    return story


@breaks("availability")
def nothing_was_asked() -> Story:
    story = Story()
    story.clients = []
    return story


@breaks("availability")
def everything_happened_during_a_fault() -> Story:
    story = busy()
    story.faults.append({"begin": -5.0, "end": 1000.0, "what": "the database was away"})
    return story


@breaks("availability")
def most_answers_are_fenced() -> Story:
    story = Story()
    story.clients = []
    story.launch("e1")
    for count in range(9):
        asked = story.ask("e1", 0, retry_count=count)
        story.answer(asked, {})
        story.record(asked, "lost")
    return story
