"""Without a GPU Triton's kernels run in its interpreter, which must be chosen before triton is imported."""

import importlib.util
import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
    if importlib.util.find_spec("triton") is not None:
        import triton  # noqa: F401  (read the setting now, before anything else can import it otherwise)
