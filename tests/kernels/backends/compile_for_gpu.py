"""Compiles the Triton backend's launches for a GPU that is not here; a program, run by test_compilation.

    python compile_for_gpu.py 90 bfloat16          # compute capability, dtypes
    python compile_for_gpu.py 80 float32 float16 --all    # every block size: minutes

The backend runs its own host code on CPU tensors; each launch compiles its kernel, down to machine code with
the ptxas that triton brings, and starts nothing. Prints one JSON object per distinct binary: kernel, dtype,
shared memory and bytes of spilled registers. It is no test itself: Triton must be imported without its
interpreter here.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget

from stl_kernels.backends.triton import TritonBackend
from stl_kernels.contract.calls import Linear
from stl_kernels.device import autotune

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
# (N, K, M), (n, k, m), rank: sizes that blocks divide; ragged ones; every size and stride 1.
SHAPES = (
    ((256, 256, 256), (4, 4, 4), 24),
    ((37, 45, 51), (2, 3, 4), 5),
    ((1, 1, 1), (1, 1, 1), 1),
)


class Target:
    """What triton asks a driver before it compiles."""

    def __init__(self, capability):
        self.get_current_target = lambda: GPUTarget("cuda", capability, 32)
        self.get_current_device = lambda: 0
        self.get_current_stream = lambda device=None: 0


class Recorder:
    """Stands for the module of kernels: a launch compiles, and keeps what came out."""

    def __init__(self, kernels):
        self.kernels, self.compiled = kernels, {}

    def __getattr__(self, name):
        kernel = getattr(self.kernels, name)

        class Launcher:
            def __getitem__(own, grid):
                def launch(*args, **options):
                    binary = kernel.warmup(*args, grid=grid, **options)
                    self.compiled[binary.hash] = (name, str(args[0].dtype), options, binary)

                return launch

        return Launcher()


def spilled(cubin):
    """Bytes of stack per thread: registers that did not fit."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(CUOBJDUMP), "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", usage)[1])


def main(capability, *dtypes, every=False):
    def compile_candidates(key, model, candidates, time):
        """In autotune's place: all compile, or the last of the fused decode and the first of the core."""
        kernels = [name for name in candidates if name != "vendor"]
        last = "blocks" in key
        for name in kernels[:-1] if every else []:
            candidates[name]()
        return kernels[-1 if every or last else 0]

    triton.runtime.driver.set_active(Target(capability))
    autotune.fastest = compile_candidates
    backend = TritonBackend()
    backend._kernels = recorder = Recorder(backend._kernels)
    for dtype in (getattr(torch, name) for name in dtypes):
        for number, ((rows, inner, columns), (n, k, m), rank) in enumerate(SHAPES):
            permuted = number == 1
            tiles_k, tiles_m = -(-inner // k), -(-columns // m)
            sizes = (rows, inner), (rank, n * k), (rank, tiles_k, tiles_m), (n * m, rank), (columns,)
            floats = [torch.zeros(size, dtype=dtype) for size in sizes]
            order = torch.arange(inner) if permuted else None
            for fused in (False, True):
                call = Linear(*floats, columns, n, k, m, order, number == 0, fused, "triton")
                call.check()
                assert backend.linear(call).shape == (rows, columns)
            # As in the backward pass: operands with their axes exchanged, a permuted result.
            x, encode_x = floats[:2]
            encoded = backend.encode(x, encode_x, call.into)
            backend.core(encoded.transpose(1, 2), encoded)
            backend.decode(encoded, encode_x.t(), None, rows, inner, call.into)
    for name, dtype, options, binary in recorder.compiled.values():
        blocks = {key: value for key, value in options.items() if key.startswith(("BLOCK", "num"))}
        entry = {"kernel": name, "dtype": dtype, "blocks": blocks, "shared": binary.metadata.shared}
        print(json.dumps({**entry, "spilled": spilled(binary.asm["cubin"])}))


if __name__ == "__main__":
    assert os.environ.get("TRITON_INTERPRET") != "1"
    names = [name for name in sys.argv[2:] if name != "--all"]
    main(int(sys.argv[1]), *names, every="--all" in sys.argv)
