"""Run benchmarks, all or by name, and store what they measured with date, device, versions and command.

What does not belong here: the measurements themselves.
"""

from __future__ import annotations

import datetime
import json
import platform
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import accuracy, convolutions, dls, gauss_newton, orbits, random_starts, refinement
from stl_algebra.files import write_atomically
from stl_algebra.version import __version__

BENCHMARKS: dict[str, Callable[[], Any]] = {
    "convolutions": convolutions.run,
    "dls": dls.run,
    "dls-accuracy": accuracy.run,
    "gauss-newton": gauss_newton.run,
    "random-starts": random_starts.run,
    "orbits": orbits.run,
    "refinement": refinement.run,
}


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, all of them when none is named; 2 when there is no such name."""
    if any(name not in BENCHMARKS for name in arguments):
        print(f"usage: python -m benchmarks [{'] ['.join(BENCHMARKS)}]", file=sys.stderr)
        return 2
    # The figures are those of one thread; with more the small problems measure thread start-up.
    torch.set_num_threads(1)
    for name in arguments or BENCHMARKS:
        record = {
            "command": f"python -m benchmarks {name}",
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "device": f"cpu {platform.machine()}, {torch.get_num_threads()} thread(s)",
            "versions": {"stl_algebra": __version__, "torch": torch.__version__, "numpy": np.__version__},
            "results": BENCHMARKS[name](),
        }
        print(write_atomically(f"results/numerics/{name}.json", json.dumps(record, indent=1) + "\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
