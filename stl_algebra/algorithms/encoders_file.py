"""The encoders file: one bilinear algorithm in one safetensors file.

Tensors `encode_x` (r, nk), `encode_w` (r, km) and `decode` (nm, r), float64, and string metadata:

    stl_file_version  "1"
    format            "4x4x4"
    name              a short name
    exactness         JSON, the certificate of `verify.Verification`
    provenance        JSON, `provenance.Provenance`; its parameter "profile" says for which layout of features
                      the algorithm was made (`profile`), white tiles where there is none
    scores            JSON, {score name: number or text}

Plain tensors and JSON, nothing pickled. It is the one hand-over between search, report, layer and kernel.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.profile import Profile, profile_of
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.scores import Scores, closed_form_scores
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import Verification, verify
from stl_algebra.errors import InvalidInput, StlError
from stl_algebra.files import write_atomically

FILE_VERSION = 1
_TENSORS = ("encode_x", "encode_w", "decode")


@dataclass(frozen=True)
class EncodersFile:
    """What a file holds.

    Attributes:
        algorithm: the three factors with name and provenance.
        exactness: the stored certificate (see `verify.Verification.certificate`); as claimed by the file,
            `verify.verify` repeats the check.
        scores: stored scores, name to number or text.
    """

    algorithm: BilinearAlgorithm
    exactness: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)

    @property
    def profile(self) -> Profile | None:
        """The profile of sorted features that the algorithm was fitted to; None for white tiles.

        Raises:
            InvalidInput: what the file says is no profile of its format.
        """
        return profile_of(self.algorithm)

    def judged(self) -> Judged:
        """The algorithm with its judgement: the file's own where its digest matches, else made anew."""
        verification = Verification.from_certificate(self.exactness, self.algorithm)
        scores = Scores.from_json(self.scores)
        if verification is None:
            verification = verify(self.algorithm)
        return Judged(self.algorithm, verification, scores or closed_form_scores(self.algorithm))


def save_encoders(
    path: str | Path, algorithm: BilinearAlgorithm | Judged, scores: Mapping[str, Any] | None = None
) -> Path:
    """Write an algorithm, atomically; verified in exact arithmetic on the way unless it was judged before.

    Args:
        path: the file, usually `NAME.safetensors`; folders are made.
        algorithm: what to write, with or without its judgement.
        scores: JSON-serialisable; numbers must be finite. Default: those of the judgement, if there is one.

    Raises:
        InvalidInput: a score is not finite or not serialisable.
        Unavailable: the path cannot be written.
    """
    if isinstance(algorithm, Judged):
        scores = algorithm.scores.as_json() if scores is None else scores
        verification, algorithm = algorithm.verification, algorithm.algorithm
    else:
        verification = verify(algorithm)
    scores = dict(scores or {})
    for key, value in scores.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidInput(f"scores[{key!r}]", expected="a finite number", got=value)
    try:
        metadata = {
            "stl_file_version": str(FILE_VERSION),
            "format": algorithm.tile.slug,
            "name": algorithm.name,
            "exactness": json.dumps(verification.certificate(), sort_keys=True),
            "provenance": json.dumps(algorithm.provenance.as_json(), sort_keys=True),
            "scores": json.dumps(scores, sort_keys=True),
        }
    except TypeError as error:
        raise InvalidInput("scores, provenance", expected="JSON values", got=str(error)) from error
    tensors = {name: np.ascontiguousarray(getattr(algorithm, name)) for name in _TENSORS}
    return write_atomically(path, save(tensors, metadata))


def load_encoders(path: str | Path) -> EncodersFile:
    """Read and check an encoders file.

    Raises:
        InvalidInput: no such file, not a safetensors file (truncated, foreign), tensors or metadata
            missing or of wrong shape or type, or made by a newer version.
    """
    path = Path(path)
    label = f"encoders file {path}"
    if not path.is_file():
        raise InvalidInput(
            label, expected="an existing file", got="a folder" if path.is_dir() else "no such file"
        )
    try:
        with safe_open(path, framework="numpy") as stream:
            metadata = stream.metadata() or {}
            keys = set(stream.keys())
            missing = [name for name in _TENSORS if name not in keys]
            if missing or "format" not in metadata or "stl_file_version" not in metadata:
                what = [f"tensor {name}" for name in missing]
                what += [f"metadata {k}" for k in ("stl_file_version", "format") if k not in metadata]
                raise InvalidInput(
                    label,
                    expected="the tensors encode_x, encode_w, decode and stl metadata",
                    got=f"a safetensors file without {', '.join(what)}",
                )
            version = metadata["stl_file_version"]
            if not version.isdigit() or int(version) > FILE_VERSION:
                raise InvalidInput(
                    label,
                    expected=f"file version {FILE_VERSION} or older",
                    got=f"version {version}",
                    hint="upgrade stl-algebra to read it",
                )
            tensors = {name: stream.get_tensor(name) for name in _TENSORS}
        exactness = json.loads(metadata.get("exactness", "{}"))
        scores = json.loads(metadata.get("scores", "{}"))
        provenance = Provenance.from_json(json.loads(metadata.get("provenance", "{}")))
    except StlError:
        raise
    except (SafetensorError, OSError) as error:
        raise InvalidInput(
            label, expected="a readable safetensors file", got=f"{type(error).__name__}: {error}"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidInput(label, expected="metadata in JSON", got=str(error)) from error
    for name, tensor in tensors.items():
        if tensor.dtype != np.float64:
            raise InvalidInput(f"{label}, tensor {name}", expected="float64", got=str(tensor.dtype))
    try:
        algorithm = BilinearAlgorithm(
            TileFormat.parse(metadata["format"]),
            tensors["encode_x"],
            tensors["encode_w"],
            tensors["decode"],
            metadata.get("name", ""),
            provenance,
        )
    except InvalidInput as error:
        raise InvalidInput(
            f"{label}, {error.argument}", expected=error.expected, got=error.got, hint=error.hint
        ) from error
    return EncodersFile(algorithm, exactness, scores)


def encode_algorithm(algorithm: BilinearAlgorithm) -> dict[str, Any]:
    """An algorithm as JSON: factors as base64 of safetensors, so that any storage keeps it bit for bit."""
    tensors = {k: np.ascontiguousarray(getattr(algorithm, k)) for k in ("encode_x", "encode_w", "decode")}
    return {
        "tile": algorithm.tile.slug,
        "name": algorithm.name,
        "provenance": algorithm.provenance.as_json(),
        "factors": base64.b64encode(save(tensors)).decode("ascii"),
    }


def decode_algorithm(data: dict[str, Any]) -> BilinearAlgorithm:
    """Inverse of `encode_algorithm`."""
    tensors = load(base64.b64decode(data["factors"]))
    return BilinearAlgorithm(
        data["tile"], **tensors, name=data["name"], provenance=Provenance.from_json(data["provenance"])
    )
