"""Bad histories about the slots of schedules: I11."""

from dataclasses import replace

from tests.history.breaking import breaks
from tests.history.dump import Schedule
from tests.history.story import TASK_PK, Story
from tests.history.tales import MINUTE, busy, scheduled


@breaks("I11")
def a_scheduled_execution_has_no_slot() -> Story:
    story = scheduled()
    story.create("e2", {}, is_scheduled=True)
    return story


@breaks("I11")
def a_slot_launched_two_executions() -> Story:
    story = scheduled()
    story.create("e2", {}, is_scheduled=True)
    story.dump.occurrences.append(replace(story.dump.occurrences[0], execution_pk=2))
    return story


@breaks("I11")
def two_slots_launched_one_execution() -> Story:
    story = scheduled()
    story.dump.occurrences[1] = replace(story.dump.occurrences[1], outcome="launched", execution_pk=1, note=None)
    return story


@breaks("I11")
def a_slot_launched_what_does_not_exist() -> Story:
    story = scheduled()
    story.dump.occurrences[1] = replace(story.dump.occurrences[1], outcome="launched", execution_pk=77, note=None)
    return story


@breaks("I11")
def a_slot_claims_the_launch_of_a_client() -> Story:
    story = scheduled()
    story.launch("e2")
    story.dump.occurrences[1] = replace(story.dump.occurrences[1], outcome="launched", execution_pk=2, note=None)
    return story


@breaks("I11")
def a_slot_is_skipped_without_a_reason() -> Story:
    story = scheduled()
    story.dump.occurrences[1] = replace(story.dump.occurrences[1], note=None)
    return story


@breaks("I11")
def a_slot_is_skipped_in_silence() -> Story:
    story = scheduled()
    del story.dump.occurrences[1]
    return story


@breaks("I11")
def slots_before_the_next_one_are_skipped_in_silence() -> Story:
    story = scheduled()
    found = story.dump.schedules[0]
    story.dump.schedules[0] = replace(found, next_slot_at=found.anchor_at + 9 * MINUTE)
    return story


@breaks("I11")
def slots_before_the_first_record_are_skipped_in_silence() -> Story:
    story = scheduled()
    found = story.dump.schedules[0]
    story.dump.schedules[0] = replace(found, anchor_at=found.anchor_at - 2 * MINUTE)
    return story


@breaks("I11")
def slots_are_skipped_in_silence_and_none_is_on_record() -> Story:
    story = busy()
    story.dump.schedules.append(Schedule(TASK_PK, 1000 * MINUTE, 1003 * MINUTE, 1003 * MINUTE, MINUTE))
    return story


@breaks("I11")
def a_schedule_stands_still() -> Story:
    story = scheduled()
    story.is_at_rest = True
    due_at = story.dump.schedules[0].due_at
    assert due_at is not None
    story.execution("e1").ended_at = due_at + MINUTE
    return story


@breaks("I11")
def a_slot_drifts() -> Story:
    story = scheduled()
    found = story.dump.occurrences[0]
    story.dump.occurrences[0] = replace(found, slot_at=found.slot_at + 1)
    return story
