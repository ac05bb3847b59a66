"""Each scenario once, on real processes; `make chaos` is the long form."""

from pathlib import Path

import pytest

from tests.chaos.jobs import Job, short_form

pytestmark = pytest.mark.slow

SEED = 1


@pytest.mark.parametrize("job", short_form(SEED), ids=lambda job: f"{job.scenario}-{job.database}")
def test_every_promise_is_kept(job: Job, tmp_path: Path) -> None:
    outcome = job.run(tmp_path)
    assert outcome.is_good, f"{outcome.failure}\n{outcome.findings}"
    if outcome.counts["left out: mounting is not allowed here"]:
        pytest.skip("mounting is not allowed here")
    assert outcome.faults.total() > 0
    assert outcome.counts["applied"] > 0
    if job.points:
        assert outcome.faults == dict.fromkeys(job.points, job.amount)
