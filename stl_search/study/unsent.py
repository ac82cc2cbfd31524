"""Results that could not be written to a storage that is away: files, sent when it is back.

<folder>/unsent/<study>-<entry>-<process>.json    study, entry, seconds, reason or totals and algorithms
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from stl_algebra.algorithms.encoders_file import decode_algorithm, encode_algorithm
from stl_algebra.errors import InvalidInput
from stl_algebra.files import write_atomically
from stl_search.study.database import StorageLost
from stl_search.study.opened import Study
from stl_search.study.results import finish
from stl_search.trials.trial import Outcome


def send(study: Study, index: int, result: Outcome | str, seconds: float, folder: Path) -> bool:
    """Write the result of an entry to the storage; True when it counts.

    While the storage is away it is kept in `folder`, and stays there when the storage does not come back.

    Raises:
        StorageLost: it did not come back; says where the result is.
        Unavailable: the folder cannot be written either.
    """
    try:
        return finish(study, index, result, seconds, patience=0.0)
    except StorageLost:
        path = _keep(study, index, result, seconds, folder)
    try:
        counts = finish(study, index, result, seconds)
    except StorageLost as error:
        raise StorageLost(
            f"{error}; what was found is kept in {path.parent}, sent at the next start"
        ) from error
    path.unlink(missing_ok=True)
    return counts


def send_rest(study: Study, folder: Path) -> int:
    """Send what is kept in a folder for this study; how many results there were.

    Raises:
        InvalidInput: a file there is damaged.
        StorageLost: the storage is away.
    """
    sent = 0
    for path in sorted((folder / "unsent").glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            name, index, seconds = str(data["study"]), int(data["entry"]), float(data["seconds"])
            result: Outcome | str = str(data.get("reason", ""))
            if "totals" in data:
                algorithms = tuple(decode_algorithm(document) for document in data["algorithms"])
                result = Outcome(algorithms, tuple(float(total) for total in data["totals"]))
        except FileNotFoundError:
            continue  # sent by its own worker in this moment
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise InvalidInput(
                f"unsent result {path}", expected="a readable file", got=str(error) or type(error).__name__,
                hint="remove it to run its trial again",
            ) from error  # fmt: skip
        if name != study.name:
            continue
        finish(study, index, result, seconds)
        path.unlink(missing_ok=True)
        sent += 1
    return sent


def _keep(study: Study, index: int, result: Outcome | str, seconds: float, folder: Path) -> Path:
    data: dict[str, object] = {"study": study.name, "entry": index, "seconds": seconds}
    if isinstance(result, str):
        data["reason"] = result
    else:
        data["totals"] = list(result.totals)
        data["algorithms"] = [encode_algorithm(a) for a in result.algorithms]
    return write_atomically(folder / "unsent" / f"{study.name}-{index}-{os.getpid()}.json", json.dumps(data))
