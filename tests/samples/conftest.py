"""The secret that the samples check signatures with, and a clock that nobody waits for."""

from collections.abc import Iterator

import pytest

from tests.samples.virtual_run import SECRET, VirtualClock


@pytest.fixture(autouse=True, scope="package")
def _secret() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APP_SECRET_KEY", SECRET)
        yield


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()
