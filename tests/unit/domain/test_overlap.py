"""What a launch does while another execution of its group runs or waits."""

import pytest

from orchestrator.domain.overlap import Queue, Refuse, Start, Verdict, decide
from orchestrator.domain.policy import OnMultipleExec

ALLOW, DISCARD_NEW = OnMultipleExec.ALLOW, OnMultipleExec.DISCARD_NEW
RETRY_LATER, ABORT_EXISTING = OnMultipleExec.RETRY_LATER, OnMultipleExec.ABORT_EXISTING


@pytest.mark.parametrize("policy", OnMultipleExec)
def test_with_nothing_in_its_way_a_launch_starts(policy: OnMultipleExec) -> None:
    assert decide(policy, (), ()) == Start()


@pytest.mark.parametrize(
    ("policy", "running", "waiting", "verdict"),
    [
        (ALLOW, (1, 2), (3,), Start()),
        (DISCARD_NEW, (1,), (), Refuse(1)),
        (DISCARD_NEW, (1, 2), (3,), Refuse(1)),
        (RETRY_LATER, (1,), (), Queue()),
        (RETRY_LATER, (1,), (2,), Refuse(2, is_waiting=True)),
        (RETRY_LATER, (), (2, 3), Refuse(2, is_waiting=True)),
        (ABORT_EXISTING, (1,), (), Start(replaces=(1,))),
        (ABORT_EXISTING, (1, 2), (3,), Start(replaces=(1, 2))),
    ],
)
def test_each_policy_against_what_runs_and_waits(
    policy: OnMultipleExec, running: tuple[int, ...], waiting: tuple[int, ...], verdict: Verdict
) -> None:
    assert decide(policy, running, waiting) == verdict
