"""What a task of transport `pull` says about its executors, in Aidbox's own names; its durations are milliseconds."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from app_sdk.protocol.manifested import TEN_YEARS_SECS, Manifested

DEFAULT_ALLOWED_RETRIES = 2
DEFAULT_RETRY_DELAY_MS = 10_000
FAILURE_PREFIX = "the executor reported: "
"""What the message of a worker begins with whose executor has failed."""

_LONGEST_MS = int(TEN_YEARS_SECS) * 1000
Milliseconds = Annotated[int, Field(ge=1, le=_LONGEST_MS)]
JsonSchema = dict[str, Any]


class PullOptions(Manifested):
    """How the steps of a task are handed to executors; of no effect where the app is called, but for `input_schema`.

    `pull_result`: an executor succeeds with an `output`, or answers a `step` as a webhook would. `concurrency_path`
    leads from the resource to the value that `concurrency_limit` counts by, such as ["params", "customer"].
    """

    pull_result: Literal["output", "step"] = "output"
    requested_to_start_timeout: Milliseconds = Field(default=10_000, alias="requestedToStartTimeout")
    in_progress_timeout: Milliseconds = Field(default=120_000, alias="inProgressTimeout")
    allowed_retry_count: Annotated[int, Field(ge=0)] | None = Field(default=None, alias="allowedRetryCount")
    retry_delay: Annotated[int, Field(ge=0, le=_LONGEST_MS)] | None = Field(default=None, alias="retryDelay")
    concurrency_limit: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(default=None, alias="concurrencyLimit")
    concurrency_path: list[str] | None = Field(default=None, alias="concurrencyPath", min_length=1)
    input_schema: JsonSchema | None = None
    result_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _limits_what_it_counts(self) -> "PullOptions":
        if self.concurrency_path is not None and self.concurrency_limit is None:
            raise ValueError("a concurrencyPath goes with a concurrencyLimit")
        return self
