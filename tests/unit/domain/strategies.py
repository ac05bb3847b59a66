"""What can happen to an execution, for property tests to draw from."""

import operator
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.policy import Delivery, OnWorkerFailure, TaskPolicy
from orchestrator.domain.retry import RetryPolicy
from tests.unit.domain.builders import spawning

worker_ids = st.integers(0, 9)
picks = st.integers(0, 1_000)
policies = st.builds(
    TaskPolicy,
    retry=st.builds(RetryPolicy, max_retries=st.integers(0, 3)),
    delivery=st.sampled_from(Delivery),
    on_worker_failure=st.sampled_from(OnWorkerFailure),
    max_duration=st.sampled_from([timedelta(hours=1), timedelta(days=7)]),
    is_async=st.sampled_from([False, False, False, True]),
)
failures = st.builds(
    Unsuccessful,
    st.just("it failed"),
    is_final=st.sampled_from([False, False, False, True]),
    is_answered=st.booleans(),
    is_sent=st.booleans(),
    retry_after=st.sampled_from([None, timedelta(), timedelta(minutes=5)]),
)
done = {"is_done": True}
rests: list[dict[str, Any]] = [{}, done, done, {"wait_for_workers": True}, {"await_callback": {}}]
answers = st.builds(
    operator.or_,
    st.fixed_dictionaries(
        {},
        optional={
            "is_error": st.sampled_from([False, False, True]),
            "delay_next_request_in_secs": st.sampled_from([0, 1, 600]),
            "new_workers": st.lists(st.integers(1, 9), max_size=4).map(lambda ids: spawning(*ids)),
            "progress": st.just({"current": 1}),
        },
    ),
    st.sampled_from(rests),
)
