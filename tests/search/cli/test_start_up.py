"""What a command imports: nothing heavy before it is known what is wanted, nothing of other rooms."""

import subprocess
import sys

import pytest

HEAVY = {
    "torch", "numba", "optuna", "plotly", "matplotlib", "transformers", "sympy", "networkx", "spgrep",
    "scipy", "sqlalchemy", "jinja2", "triton",
}  # fmt: skip
PROGRAM = """
import sys
from stl_search.cli import main
try:
    main(sys.argv[1:], standalone_mode=True)
except SystemExit:
    pass
print("MODULES", *sorted({name.split(".")[0] for name in sys.modules}))
print("ROOMS", *sorted({".".join(n.split(".")[:2]) for n in sys.modules if n.startswith("stl_")}))
"""


def imported(*arguments):
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    ).stdout
    modules, rooms = (line.split()[1:] for line in shown.splitlines()[-2:])
    return set(modules), set(rooms)


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("nonsense",)])
def test_the_first_word_needs_nothing_heavy(arguments):
    modules, rooms = imported(*arguments)
    assert not modules & HEAVY
    assert not {r for r in rooms if r.startswith(("stl_kernels", "stl_models"))}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (("verify", "results/frontier-4x4x4/encoders/4x4x4-r49.safetensors"), set()),
        (("frontier", "results/frontier-4x4x4"), set()),
        (("groups", "--order", "6"), {"scipy", "sympy", "spgrep", "networkx"}),
        (("find", "3x3x4", "--rank", "29", "--out", "{tmp}"), set()),
        (("run", "--help"), set()),
        (("report", "--help"), set()),
        (("capture", "--help"), set()),
        (("bench", "layer", "--help"), set()),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_command_imports_only_its_rooms(arguments, allowed, tmp_path):
    modules, rooms = imported(*(a.replace("{tmp}", str(tmp_path)) for a in arguments))
    assert modules & HEAVY <= allowed
    assert not {r for r in rooms if r.startswith(("stl_kernels", "stl_models"))}
