"""What every part of a manifest has in common."""

from functools import cache

from pydantic import BaseModel, ConfigDict, model_validator

# Rules out dates that no calendar holds.
TEN_YEARS_SECS = 10 * 365 * 24 * 3600.0


class Manifested(BaseModel):
    """A part of a manifest: read strictly, null read as absent, and keys that nobody here names kept as they came."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, serialize_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _null_means_absent(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if value is not None or key not in _names(cls)}


@cache
def _names(part: type[Manifested]) -> frozenset[str]:
    """What the fields of a part are called in a manifest."""
    return frozenset(field.alias or name for name, field in part.model_fields.items())
