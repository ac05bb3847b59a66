"""Every broken promise is found, and named by its rule and by no other."""

import pytest

from tests.history import breaking_doors, breaking_effects, breaking_ends, breaking_slots, breaking_steps
from tests.history.breaking import CASES, Case
from tests.history.checker import report
from tests.history.rules import RULES

MODULES = (breaking_doors, breaking_effects, breaking_ends, breaking_slots, breaking_steps)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_right_rule_is_named(case: Case) -> None:
    findings = case.build().findings()
    assert {finding.rule for finding in findings} == {case.rule}, report(findings)


def test_every_rule_is_broken_somewhere() -> None:
    assert {case.rule for case in CASES} == set(RULES)
    assert {case.build.__module__ for case in CASES} == {module.__name__ for module in MODULES}
