"""What converting takes in memory: the whole model, and block by block under a limit that the kernel keeps.

    python -m benchmarks.memory --model FOLDER --calibrate TEXT [--ratio 2.0] [--limit 0.9]

Every conversion runs in a process of its own. *Measured* is the peak of anonymous resident memory (RssAnon,
sampled every 5 ms) over what the process holds once torch, transformers and this package are imported, for
each phase and altogether. *Limited* is RLIMIT_DATA, private writable memory, which the kernel refuses to
exceed: what it is after the imports plus a share of the model's size in float32.

What does not belong here: how good the converted model is (`benchmarks.models`).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from stl_algebra.files import write_atomically

WAYS = ("streamed", "whole")
#: glibc gives back at once what is freed; else it keeps blocks of up to 32 MB, empty, and they count.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}


def status(field: str) -> int:
    """Bytes that the kernel counts for this process, such as RssAnon or VmData."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


class Peaks:
    """The most anonymous resident memory over what there was at the start, by phase."""

    def __init__(self) -> None:
        self.before = status("RssAnon")
        self.phase = "reading and planning"
        self.peaks: dict[str, int] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            now = status("RssAnon") - self.before
            self.peaks[self.phase] = max(self.peaks.get(self.phase, 0), now)
            time.sleep(0.005)


def convert(way: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One conversion in this process: what it took, by phase."""
    import torch
    import transformers  # noqa: F401

    from stl_models import convert_
    from stl_models.folders import Calibration, convert_folder
    from stl_models.planning.config import ConversionConfig
    from stl_models.storage.dense import load_dense, load_tokenizer
    from stl_models.text import read_text, token_batches

    # What the first product and decomposition bring along is no part of the conversion.
    torch.linalg.eigh(torch.randn(64, 64, dtype=torch.float64) @ torch.randn(64, 64, dtype=torch.float64))
    changes: dict[str, Any] = {"recipes": tuple(arguments.recipe)} if arguments.recipe else {}
    config = ConversionConfig(ratio=arguments.ratio, repair=arguments.repair, **changes)
    calibration = Calibration(arguments.calibrate, arguments.rows, arguments.length, arguments.batch)
    data = status("VmData")
    limit = None
    if way == "streamed":
        limit = int(arguments.limit * 4 * arguments.parameters)
        resource.setrlimit(resource.RLIMIT_DATA, (data + limit, data + limit))
    peaks = Peaks()

    def progress(what: str, done: int, of: int) -> None:
        # Curves come after gradients, blocks after curves; what is reported is the one under way.
        following = {"gradients": "gradients", "curves": "blocks" if done == of else "curves"}
        peaks.phase = following.get(what, "finishing" if what == "blocks" and done == of else "blocks")

    started = time.monotonic()
    if way == "streamed":
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as out:
            report, _, _ = convert_folder(
                arguments.model, calibration, Path(out) / "model", config, progress=progress
            )
    else:
        batches = token_batches(
            load_tokenizer(arguments.model), read_text(arguments.calibrate),
            rows=calibration.rows, length=calibration.length, batch=calibration.batch,
        )  # fmt: skip
        model, _ = load_dense(arguments.model)
        report = convert_(model, config, batches, progress=progress)
    blocks = list(report.blocks.values())
    return {
        "peak_bytes": max(peaks.peaks.values()),
        "peak_bytes_by_phase": peaks.peaks,
        "resident_before_bytes": peaks.before,
        "limit_bytes": limit,
        "limited": "RLIMIT_DATA, over its value after the imports" if limit else "nothing",
        "seconds": time.monotonic() - started,
        "ratios": report.ratios,
        "first_block_seconds": {key: blocks[0][key] for key in ("expected_seconds", "seconds")},
        "block_seconds": [block["seconds"] for block in blocks],
        "notes": report.notes,
    }


def sizes(folder: Path) -> tuple[int, int, int]:
    """Parameters of the checkpoint, and of the largest block: all, and the widest input."""
    from stl_models.storage.dense import open_dense
    from stl_models.structure.modules import find_blocks, find_structure

    model, _ = open_dense(folder, folder)
    blocks = [model.get_submodule(name) for name in find_blocks(model)]
    largest = max(sum(p.numel() for p in b.parameters()) for b in blocks)
    widest = max(k for k, _ in find_structure(model).linears.values())
    return sum(p.numel() for p in model.parameters()), largest, widest


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--ratio", type=float, default=2.0)
    parser.add_argument("--rows", type=int, default=6144)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4, help="windows a batch; the command has 16")
    parser.add_argument("--recipe", nargs="+", help="allowed recipes; the standard ones by default")
    parser.add_argument("--repair", default="held-out")
    parser.add_argument("--limit", type=float, default=0.9, help="share of the float32 size, for streamed")
    parser.add_argument("--way", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--scratch", type=Path, help="a folder on a disk, for the converted model")
    parser.add_argument("--out", type=Path, default=Path("results/models/memory.json"))
    parser.add_argument("--alone", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--parameters", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(convert(arguments.alone, arguments)))
        return
    import torch
    import transformers

    from stl_kernels.device.peaks import device_name

    parameters, block, widest = sizes(arguments.model)
    results: dict[str, Any] = {}
    if arguments.out.is_file():
        results = json.loads(arguments.out.read_text("utf-8"))["results"]
    for way in arguments.way:
        command = [sys.executable, "-m", "benchmarks.memory", *sys.argv[1:]]
        done = subprocess.run(
            [*command, "--alone", way, "--parameters", str(parameters)],
            stdout=subprocess.PIPE, check=True, env={**os.environ, **ALLOCATOR},
        )  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
        words = (Path(a).name if os.sep in a else a for a in sys.argv[1:])
        found["command"] = shlex.join(["python", "-m", "benchmarks.memory", *words])
        found["peak_over_float32_model"] = found["peak_bytes"] / (4 * parameters)
        allowed = f", {' '.join(arguments.recipe)}" if arguments.recipe else ""
        given = f"repair {arguments.repair}, {arguments.rows} tokens in batches of {arguments.batch}"
        results[f"{way} at {arguments.ratio}{allowed}, {given}"] = found
        print(way, json.dumps({k: v for k, v in found.items() if k != "block_seconds"}), flush=True)
        document = {
            "device": device_name("cpu"),
            "date": datetime.date.today().isoformat(),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
            "float32_bytes": 4 * parameters,
            "environment": ALLOCATOR,
            "largest_block_bytes": 4 * block,
            # E x x^T of the widest input in float64 while rows are added: the sum, its rest and a product.
            "moments_of_widest_input_bytes": 3 * 8 * (widest + 1) ** 2,
            "results": results,
        }
        write_atomically(arguments.out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
