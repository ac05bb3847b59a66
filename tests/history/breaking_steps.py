"""Bad histories about steps, answers, keys, claims and signatures: I1 to I4, I8, I15."""

import json
from dataclasses import replace

from tests.history.breaking import answer_to, breaks, delivery, request, row
from tests.history.signed_lines import rename, signed
from tests.history.story import Story
from tests.history.tales import busy, delivered_twice, increment


@breaks("I1")
def a_step_is_applied_twice() -> Story:
    story = busy()
    again = replace(row(story, 2, 1), token=9)
    story.calls.append(again)
    for call in story.calls:
        if call.worker_id == 2 and call.step > 1:
            call.token += 20
    story.worker("e1", 2).token += 20
    return story


@breaks("I1")
def a_step_is_counted_that_nobody_applied() -> Story:
    story = busy()
    story.worker("e1", 2).step += 1
    return story


@breaks("I1")
def a_step_is_left_out() -> Story:
    story = busy()
    story.calls.remove(row(story, 2, 1))
    return story


@breaks("I1")
def a_step_is_applied_and_not_counted() -> Story:
    story = busy()
    story.worker("e1", 0).step -= 1
    return story


@breaks("I2")
def an_answer_is_applied_that_the_app_never_gave() -> Story:
    story = busy()
    found = row(story, 2, 1)
    found.answer = {**(found.answer or {}), "witness": 999}
    return story


@breaks("I2")
def an_answer_is_changed_before_it_is_applied() -> Story:
    story = busy()
    found = row(story, 1, 0)
    assert found.answer is not None
    found.answer["app_state_mutations"] = [increment("count", 2)]
    return story


@breaks("I2")
def a_step_is_applied_without_asking_the_app() -> Story:
    story = busy()
    asked = request(story, 0, 2)
    story.app = [line for line in story.app if line.get("id") != asked["id"]]
    return story


@breaks("I2")
def an_answer_of_503_is_applied() -> Story:
    story = busy()
    answer_to(story, request(story, 0, 1))["status"] = 503
    return story


@breaks("I2")
def the_answer_to_another_step_is_applied() -> Story:
    story = busy()
    found, other = row(story, 2, 1), row(story, 2, 3)
    assert found.answer is not None
    assert other.answer is not None
    found.answer["witness"], other.answer["witness"] = other.answer["witness"], found.answer["witness"]
    return story


@breaks("I3")
def the_next_step_is_called_before_the_answer() -> Story:
    story = busy()
    asked = request(story, 1, 3)
    story.app.remove(asked)
    story.app.insert(story.app.index(answer_to(story, request(story, 1, 2))), asked)
    return story


@breaks("I3")
def a_step_is_called_that_has_not_come() -> Story:
    story = busy()
    story.request("e1", 2, 9)
    return story


@breaks("I4")
def a_repeated_call_carries_a_fresh_key() -> Story:
    story = busy()
    rename(request(story, 1, 1, number=1), "msg_fresh")
    return story


@breaks("I4")
def the_two_names_of_the_key_differ() -> Story:
    story = busy()
    request(story, 1, 1)["headers"]["idempotency-key"] = "msg_other"
    return story


@breaks("I4")
def two_steps_carry_one_key() -> Story:
    story = busy()
    rename(request(story, 0, 2), "msg_e1_0_1")
    return story


@breaks("I4")
def two_executions_carry_one_key() -> Story:
    story = busy()
    story.launch("e2")
    story.step("e2", 0, is_done=True)
    asked = next(line for line in story.app if '"task_exec_id": "e2"' in line.get("body", ""))
    rename(asked, "msg_e1_0_0")
    return story


@breaks("I8")
def an_older_token_is_applied() -> Story:
    story = busy()
    lost, applied = row(story, 1, 1, "lost"), row(story, 1, 1)
    lost.token, applied.token = applied.token, lost.token
    return story


@breaks("I8")
def a_token_is_given_out_twice() -> Story:
    story = busy()
    row(story, 1, 1).token -= 1
    return story


@breaks("I8")
def tokens_go_back() -> Story:
    story = busy()
    fenced, applied = row(story, 2, 1, "fenced"), row(story, 2, 2)
    fenced.token, applied.token = applied.token, fenced.token
    return story


@breaks("I8")
def a_worker_is_behind_the_token_of_its_last_call() -> Story:
    story = busy()
    story.worker("e1", 2).token = 1
    return story


@breaks("I8")
def an_attempt_goes_back() -> Story:
    story = busy()
    row(story, 2, 0).attempt = 2
    return story


@breaks("I8")
def the_answer_to_a_call_that_was_given_up_is_applied() -> Story:
    """Two claims at once: the second call had come to the app before it answered the first, which was applied."""
    story = Story()
    story.launch("e1")
    first, second = story.ask("e1", 0), story.ask("e1", 0, retry_count=1)
    story.record(first, "lost")
    said = story.answer(first, {"is_done": True})
    story.apply(second, said)
    return story


@breaks("I8")
def two_calls_are_the_same_retry() -> Story:
    story = Story()
    story.launch("e1")
    story.record(story.ask("e1", 0), "lost")
    story.step("e1", 0, is_done=True)
    return story


@breaks("I15")
def a_call_has_no_rimdian_signature() -> Story:
    story = busy()
    del request(story, 1, 0)["headers"]["x-rmd-signature"]
    return story


@breaks("I15")
def a_call_is_signed_for_another_body() -> Story:
    story = busy()
    asked = request(story, 1, 0)
    headers = signed(asked["body"] + " ", asked["headers"]["webhook-id"])
    asked["headers"]["x-rmd-signature"] = headers["x-rmd-signature"]
    return story


@breaks("I15")
def the_standard_signature_is_of_another_time() -> Story:
    story = busy()
    request(story, 1, 0)["headers"]["webhook-timestamp"] = "1700000001"
    return story


@breaks("I15")
def a_call_goes_to_another_host() -> Story:
    story = busy()
    request(story, 1, 0)["host"] = "169.254.169.254"
    return story


@breaks("I15")
def a_request_is_no_call() -> Story:
    story = busy()
    story.app.append({**request(story, 1, 0), "id": 999, "body": json.dumps({"kind": "probe"})})
    return story


@breaks("I15")
def a_delivery_is_signed_with_another_secret() -> Story:
    story = delivered_twice()
    delivery(story, story.dump.batches[0].key)["headers"]["x-rmd-signature"] = "0" * 64
    return story
