"""One reader for every file of one bilinear algorithm: ours, and other programs'.

    .safetensors    our encoders file
    .json           our export; u, v, w with a row or a column per product, optional n = [n, k, m] and z2
    .npz            our export; u, v, w; or three matrices under a key "n,k,m"
    .sms            sparse triples in three files ...L.sms, ...R.sms, ...P.sms (plinopt)

What a file leaves open (`orient`) is decided by exact arithmetic and said. Object arrays are pickles and
are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.scores import closed_form_scores
from stl_algebra.factor_files.orient import near_miss, orient
from stl_algebra.factor_files.raw import read_raw


@dataclass(frozen=True)
class FactorFile:
    """What was read.

    Attributes:
        judged: the algorithm in our convention, with proof and scores.
        conventions: how the file was read, in words.
        hint: what the algorithm would be exact for where it is not; "" otherwise.
    """

    judged: Judged
    conventions: str
    hint: str = ""


def read_factors(path: str | Path) -> FactorFile:
    """Read an algorithm from any file that `read` knows.

    Raises:
        InvalidInput: no such file, not of its kind, pickled, complex, or of no format; says what it is.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors" or not path.suffix:
        return FactorFile(load_encoders(path).judged(), "our encoders file")
    raw = read_raw(path)
    reading = orient(raw, f"factor file {path}")
    extra = raw.extra or {}
    origin = Provenance.from_json(extra.get("provenance", {}))
    steps = origin.steps or (f"read from {path.name} ({reading.conventions})",)
    algorithm = reading.algorithm.renamed(
        str(extra.get("name") or path.stem), Provenance.from_json({**origin.as_json(), "steps": steps})
    )
    judged = Judged(algorithm, reading.verification, closed_form_scores(algorithm))
    return FactorFile(judged, reading.conventions, "" if judged.exact else near_miss(algorithm))
