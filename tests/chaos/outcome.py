"""What a scenario hands to the report, as JSON, so that each may run in a process of its own."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.chaos.stage import Verdict


@dataclass(slots=True)
class Outcome:
    """`faults` by what was done; `times` in seconds, by what was measured; `failure` is empty if all is well."""

    scenario: str
    database: str
    seed: str
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=dict)
    worked: int = 0
    operations: int = 0
    findings: str = ""
    failure: str = ""
    took_secs: float = 0.0

    @property
    def is_good(self) -> bool:
        return not self.findings and not self.failure

    def take(self, verdict: Verdict) -> None:
        self.findings, self.counts = verdict.findings, self.counts + verdict.counts
        self.worked, self.operations = verdict.worked, verdict.operations

    def write(self, path: Path) -> None:
        plain = asdict(replace(self, faults=Counter(), counts=Counter()))
        path.write_text(json.dumps({**plain, "faults": self.faults, "counts": self.counts}))

    @classmethod
    def read(cls, path: Path) -> "Outcome":
        told = json.loads(path.read_text())
        told["faults"], told["counts"] = Counter(told["faults"]), Counter(told["counts"])
        return cls(**told)
