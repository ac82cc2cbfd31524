"""Where the figures of the page on many machines come from."""

import statistics

from stl_search.study.database import PATIENCE
from stl_search.study.lease import RENEWAL
from tests.figures.stored import results

MACHINES = "docs/machines.md"


def queue():
    return results("search/queue.json")


def of_a_claim():
    claim = queue()["operations"]["claim"]
    return claim["ratio"], claim["milliseconds"]["100000"], claim["milliseconds"]["100"]


def seconds_beside_a_trial():
    """What a worker takes for a trial over what a process without a database takes."""
    counted = queue()["seconds_counted"]
    workers, processes = (
        counted / statistics.mean(queue()["trials"][kind]["1"]) for kind in ("workers", "processes")
    )
    return (workers - processes,)


def of_the_crowd():
    crowd = queue()["crowd"]
    connections = crowd["connections"]
    return (
        crowd["workers"],
        connections["most"],
        connections["allowed"],
        crowd["claim_milliseconds"]["median"],
    )


FIGURES = [
    (MACHINES, r"renews the lease every (\d+) seconds", lambda: (RENEWAL,)),
    (MACHINES, r"one every (\d+) seconds for the lease", lambda: (RENEWAL,)),
    (MACHINES, r"`--patience` \((\d+) minutes\)", lambda: (PATIENCE / 60,)),
    (MACHINES, r"takes ([\d.]+) times what it takes beside 100, (\d+) and (\d+) milliseconds", of_a_claim),
    (
        MACHINES,
        r"Two workers finish ([\d.]+) times the trials",
        lambda: (queue()["two_to_one"]["workers"],),
    ),
    (
        MACHINES,
        r"without a database finish ([\d.]+) times those of one",
        lambda: (queue()["two_to_one"]["processes"],),
    ),
    (MACHINES, r"about ([\d.]+) seconds of claims", seconds_beside_a_trial),
    (
        MACHINES,
        r"(\d+) workers with trials of half a minute had at most (\d+) open at a time, of the server's "
        r"(\d+), and claimed in (\d+) milliseconds",
        of_the_crowd,
    ),
]
