"""The names that `--matrices` takes, for help texts and shells: nothing is imported for them."""

from __future__ import annotations

#: Random ensembles: the keys of `ensembles.ENSEMBLES`.
ENSEMBLE_NAMES = ("gaussian", "rademacher", "uniform", "heavy-tailed", "low-rank", "ill-conditioned")
#: Captures that ship with the package, by name.
BUNDLED = {"minilm": "data/minilm.safetensors"}
#: What a run is scored on when nothing is said.
DEFAULT_MATRICES = ("gaussian", "minilm")

#: What `--matrices` takes.
MATRICES_HELP = (
    f"Ensembles: {', '.join(ENSEMBLE_NAMES)}; all of them: random; bundled layers: {', '.join(BUNDLED)}; "
    "files: .npz or .safetensors with arrays x (N, K) and w (K, M), or NAME.x and NAME.w; X.npy,W.npy; "
    "W.npy (Gaussian X)."
)
