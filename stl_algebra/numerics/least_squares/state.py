"""The JSON part of a saved stream: what it was made with and how far it is.

What does not belong here: the tensors (each part saves its own), files (`journal`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.choice import Choice
from stl_algebra.numerics.least_squares.config import Config
from stl_algebra.numerics.least_squares.rows import Form

#: Version 1 knew neither intercepts nor forgetting nor arrays; it is read.
STATE_VERSION = 2


@dataclass(frozen=True)
class Meta:
    """What a `state_dict` says besides numbers.

    Attributes:
        config, choice: of the stream.
        rows: live rows.
        form: how rows were given last.
    """

    config: Config
    choice: Choice
    rows: int
    form: Form

    def tensor(self) -> Tensor:
        """JSON text as bytes."""
        text = json.dumps({"version": STATE_VERSION, **asdict(self)})
        return torch.tensor(list(text.encode()), dtype=torch.uint8)

    @classmethod
    def read(cls, state: Mapping[str, Tensor]) -> Meta:
        """Inverse of `tensor`, from the "meta" entry.

        Raises:
            InvalidInput: it is missing, malformed or of a newer version.
        """
        version = STATE_VERSION
        try:
            meta = json.loads(bytes(state["meta"].tolist()))
            version = int(meta["version"])
            if version <= STATE_VERSION:
                form = Form(*meta.get("form", ()))
                return cls(Config(**meta["config"]), Choice(**meta["choice"]), int(meta["rows"]), form)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InvalidInput("state", expected="a state_dict with a meta entry", got=repr(error)) from error
        raise InvalidInput(
            "state", expected=f"state version {STATE_VERSION}", got=version, hint="upgrade stl-algebra"
        )
