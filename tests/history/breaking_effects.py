"""Bad histories about what applied answers leave: app states, worker states, imports. I5 to I7."""

import json

from tests.history.breaking import answer_to, batch, breaks, delivery, request, row, state
from tests.history.json_lines import digest
from tests.history.signed_lines import repack, resend
from tests.history.story import Story
from tests.history.tales import busy, delivered_twice, helpers, interrupted, receipts, unknown_outcomes


@breaks("I5")
def an_increment_is_lost() -> Story:
    story = busy()
    state(story)["count"] -= 1
    return story


@breaks("I5")
def an_increment_of_a_fenced_answer_is_counted() -> Story:
    story = busy()
    state(story)["count"] += 50
    return story


@breaks("I5")
def an_increment_of_a_float_is_lost() -> Story:
    story = busy()
    state(story)["rate"] = 0.2
    return story


@breaks("I5")
def an_older_value_of_a_worker_is_back() -> Story:
    story = busy()
    state(story)["w1"] = 1
    return story


@breaks("I5")
def a_deleted_key_is_back() -> Story:
    story = busy()
    state(story)["temp"] = 0
    return story


@breaks("I5")
def a_key_is_gone() -> Story:
    story = busy()
    del state(story)["w1"]
    return story


@breaks("I5")
def a_key_is_there_that_nobody_has_set() -> Story:
    story = busy()
    state(story)["ghost"] = 1
    return story


@breaks("I5")
def an_integer_has_become_a_float() -> Story:
    story = busy()
    state(story)["w1"] = 2.0
    return story


@breaks("I5")
def an_overwritten_value_of_another_worker_is_back() -> Story:
    """Worker 1 had gone on to its next step, before worker 2 was even answered."""
    story = busy()
    state(story)["latest"] = "one"
    return story


@breaks("I5")
def a_shared_key_holds_what_nobody_wrote() -> Story:
    story = busy()
    state(story)["latest"] = "three"
    return story


@breaks("I5")
def an_unknown_increment_is_counted_twice() -> Story:
    story = unknown_outcomes()
    state(story)["count"] = 1 + 3 + 3
    return story


@breaks("I5")
def fewer_commits_than_answers_of_one_worker() -> Story:
    story = busy()
    story.dump.apps[1].version = 1
    return story


@breaks("I5")
def more_commits_than_answers() -> Story:
    story = busy()
    story.dump.apps[1].version += 1
    return story


@breaks("I5")
def the_state_of_an_app_is_missing() -> Story:
    story = busy()
    story.dump.apps[1].state = None
    return story


@breaks("I6")
def the_last_state_of_a_worker_is_lost() -> Story:
    story = busy()
    story.worker("e1", 1).state = digest({"n": 1})
    return story


@breaks("I6")
def a_call_carries_an_older_state() -> Story:
    story = busy()
    resend(request(story, 1, 1), worker_state={"helper": 1})
    return story


@breaks("I6")
def the_keys_of_a_state_are_in_another_order() -> Story:
    story = Story()
    story.launch("e1", {"b": 1, "a": 2})
    story.step("e1", 0, is_done=True)
    resend(request(story, 0, 0), worker_state={"a": 2, "b": 1})
    return story


@breaks("I6")
def a_worker_that_starts_again_keeps_its_old_state() -> Story:
    story = busy()
    resend(request(story, 1, 4), worker_state={"n": 1})
    return story


@breaks("I6")
def a_worker_appears_from_nowhere() -> Story:
    story = busy()
    row(story, 0, 0).spawned = {1: 0}
    return story


@breaks("I6")
def a_worker_is_started_again_unasked() -> Story:
    story = busy()
    row(story, 0, 1).spawned = {1: 5, 2: 9}
    return story


@breaks("I6")
def a_worker_that_was_asked_for_is_missing() -> Story:
    story = busy()
    more = helpers(1, 2, 3)
    answer = answer_to(story, request(story, 0, 0))
    answer["body"] = json.dumps({**json.loads(answer["body"]), "new_workers": more})
    found = row(story, 0, 0)
    found.answer = {**(found.answer or {}), "new_workers": more}
    return story


@breaks("I7")
def a_delivered_batch_never_came() -> Story:
    story = busy()
    story.deliveries.remove(delivery(story, batch(story, 1, 3).key))
    return story


@breaks("I7")
def a_batch_came_with_other_items() -> Story:
    story = busy()
    repack(delivery(story, batch(story, 2, 0).key), receipts(1, 9))
    return story


@breaks("I7")
def the_items_of_a_batch_are_in_another_order() -> Story:
    story = busy()
    repack(delivery(story, batch(story, 2, 0).key), receipts(2, 1))
    return story


@breaks("I7")
def a_batch_came_again_with_other_items() -> Story:
    story = delivered_twice()
    repack(story.deliveries[-2], receipts(1))
    return story


@breaks("I7")
def items_of_a_fenced_answer_were_delivered() -> Story:
    story = busy()
    story.delivery("imp_e1_2_1_0", receipts(50))
    return story


@breaks("I7")
def a_step_that_was_not_applied_has_a_batch() -> Story:
    story = busy()
    found = batch(story, 1, 3)
    found.step = 2
    story.dump.batches.remove(batch(story, 2, 0, part=1))
    found.worker_id, found.part = 2, 1
    return story


@breaks("I7")
def a_batch_of_a_step_is_missing() -> Story:
    story = busy()
    found = batch(story, 2, 0, part=1)
    story.dump.batches.remove(found)
    story.deliveries.remove(delivery(story, found.key))
    return story


@breaks("I7")
def the_outbox_has_lost_an_item() -> Story:
    story = interrupted()
    found = batch(story, 0, 0)
    found.items = (found.items or b"")[12:]
    return story


@breaks("I7")
def batches_of_a_worker_came_in_another_order() -> Story:
    story = busy()
    first, second = (delivery(story, batch(story, 2, 0, part=part).key) for part in (0, 1))
    story.deliveries.remove(second)
    story.deliveries.insert(story.deliveries.index(first), second)
    return story


@breaks("I7")
def an_undelivered_batch_is_not_counted() -> Story:
    story = interrupted()
    story.worker("e1", 0).undelivered -= 1
    return story
