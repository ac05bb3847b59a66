"""The peers of the benchmarks: what they send, and how what was measured becomes a table."""

import json
import time
from typing import Any

import pytest

from app_sdk.protocol.signing import verify
from benchmarks.peers.comparison import median, quickest, table
from benchmarks.peers.contestants import PEERS, chosen
from benchmarks.peers.programs import NotRun, Peer
from benchmarks.peers.webhook import following, lanes, request
from benchmarks.report import text_of
from benchmarks.workload import Figures, figures

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FIGURES = Figures(1836.4, 872.0, 92.0, 201.0, 277.0, 0)


def seen(**different: Any) -> dict[str, Any]:
    told = {"calls": 4000, "first": 100.0, "last": 102.0, "gap_p50_ms": 201.0, "gap_p99_ms": 277.0, "repeated": 1}
    return told | different


def test_what_the_app_has_seen_becomes_figures_of_a_step() -> None:
    assert figures(seen(), own_secs=4.0, store_secs=0.4) == Figures(2000.0, 1000.0, 100.0, 201.0, 277.0, 1)


def test_a_store_within_the_peer_has_no_figure_of_its_own() -> None:
    assert figures(seen(), own_secs=4.0, store_secs=None).store_us is None


@pytest.mark.parametrize("told", [seen(calls=0, first=0.0, last=0.0), seen(calls=1, first=5.0, last=5.0)])
def test_figures_of_nothing_are_refused(told: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError):
        figures(told, 1.0, None)


def test_the_median_leaves_out_rounds_that_were_not_run_and_adds_up_repeats() -> None:
    rounds = [Figures(speed, 1.0, None, 3.0, 4.0, 2) for speed in (100.0, 300.0, 200.0)]
    assert median([NotRun("the disk is full"), *rounds]) == Figures(200.0, 1.0, None, 3.0, 4.0, 6)


def test_the_table_says_why_a_peer_was_not_run_and_how_many_rounds_it_missed() -> None:
    first, second, third = PEERS[:3]
    found: dict[Peer, list[Figures | NotRun]] = {
        first: [NotRun("no environment")],
        second: [FIGURES, NotRun("too slow")],
        third: [FIGURES],
    }
    lines = {line.split()[0]: line for line in text_of(table(found)).splitlines()}
    assert lines[first.name].endswith("not run: no environment")
    assert "1,836" in lines[second.name]
    assert lines[second.name].endswith(f"{second.durability} (1 of 2 rounds not run: too slow)")
    assert lines[third.name].endswith(third.durability)


def test_the_quickest_is_the_best_of_the_forms_that_were_run() -> None:
    first, second, third, *_ = PEERS
    assert (first.name, second.name, third.name) == ("procrastinate-1", "procrastinate-2", "pgqueuer-1")
    quick = Figures(5000.0, 1.0, None, 1.0, 1.0, 0)
    found: dict[Peer, list[Figures | NotRun]] = {first: [NotRun("no")], second: [FIGURES], third: [quick]}
    assert quickest(found) == 5000.0
    assert quickest(found, "procrastinate") == 1836.4
    assert quickest(found, "dbos") is None


def test_peers_are_chosen_by_the_beginnings_of_their_names() -> None:
    assert chosen(None) == list(PEERS)
    assert {peer.name for peer in chosen("dbos-s, celery")} == {
        "dbos-sqlite-1",
        "celery-prefork-8",
        "celery-gevent-100",
    }
    assert chosen("nobody") == []


def test_no_peer_has_more_than_a_hundred_calls_in_flight() -> None:
    for peer in PEERS:
        options = dict(zip(peer.options[::2], peer.options[1::2], strict=True))
        processes = peer.copies * int(options.get("--processes", "1"))
        assert processes * int(options.get("--in-flight", "100")) <= 100, peer.name


def test_a_peer_sends_the_payload_of_the_orchestrator_signed_as_it_signs() -> None:
    lane = lanes(executions=2, steps=3)[11]
    body, headers = request(lane)
    verify(SECRET, headers, body, now=int(time.time()))
    worker = json.loads(body)["task_exec_worker"]
    assert (worker["worker_id"], worker["worker_state"]["step"], worker["worker_state"]["steps"]) == (1, 0, 3)
    assert 1000 <= len(body) <= 1100


def test_a_lane_goes_on_with_the_new_state_until_the_app_says_that_it_is_done() -> None:
    [lane, *_] = lanes(executions=1, steps=3)
    then = following(lane, b'{"is_done": false, "updated_worker_state": {"step": 1}}')
    assert then == lane | {"state": {"step": 1}}
    assert following(lane, b'{"is_done": true, "updated_worker_state": {"step": 3}}') is None
