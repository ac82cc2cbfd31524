"""The Triton kernels compile for a GPU where there is none, in bfloat16 too, which the interpreter lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("compile_for_gpu.py")
ROOT = Path(__file__).parents[3]
# What a program may take of a multiprocessor's shared memory at compute capability 9.0 (CUDA C++ guide).
SHARED = 227 * 1024


@pytest.mark.slow
def test_all_launches_compile_and_the_fused_decode_stays_in_registers(tmp_path):
    pytest.importorskip("triton")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    # The package need not be installed where its tests run.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    command = [sys.executable, str(PROGRAM), "90", "bfloat16"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    binaries = [json.loads(line) for line in done.stdout.splitlines()]
    names = {"encode_kernel", "decode_kernel", "core_kernel", "core_decode_kernel"}
    assert {b["kernel"] for b in binaries} == names
    assert all(b["shared"] <= SHARED for b in binaries)
    fused = [b for b in binaries if b["kernel"] == "core_decode_kernel" and b["blocks"]["BLOCK_Y"] == 16]
    assert fused
    assert not any(b["spilled"] for b in fused)
