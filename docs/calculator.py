"""The calculator of "Will it help me?": the roofline's predictions, by shape and device, in the page.

All figures are `stl_kernels.predict`'s, made when the page is built: the page holds a table of them and a few
lines of script that choose a row, so that no formula exists twice. What does not belong here: prose.
"""

import itertools
import json

from stl_algebra import encoders
from stl_kernels import common_gpus, predict

ROWS = (1, 4, 32, 256, 1024, 4096, 16384, 65536)
WIDTHS = (384, 768, 1536, 2048, 4096, 8192, 16384)
DTYPES = ("bfloat16", "float32")
RANKS = (48, 40, 32, 24)

SCRIPT = """
(function () {
  const data = JSON.parse(document.getElementById("stl-table").textContent);
  const names = ["device", "dtype", "rows", "inner", "columns"];
  const fields = names.map((n) => document.getElementById("stl-" + n));
  function time(s) {
    return s < 1e-3 ? (1e6 * s).toPrecision(3) + " \\u00b5s" : (1e3 * s).toPrecision(3) + " ms";
  }
  function show() {
    const place = fields.reduce((sum, f) => sum * f.options.length + f.selectedIndex, 0);
    const [dense, ...times] = data.times[place];
    document.getElementById("stl-dense").textContent = time(dense);
    times.forEach(function (t, i) {
      const faster = dense / t;
      document.getElementById("stl-time-" + i).textContent = time(t);
      document.getElementById("stl-speed-" + i).textContent =
        faster.toFixed(2) + (faster >= 1.05 ? ", faster" : faster > 0.95 ? ", the same" : ", slower");
    });
  }
  fields.forEach((f) => f.addEventListener("change", show));
  show();
})();
"""


def times() -> list[list[float]]:
    """Seconds of the dense product and of every rank, by device, dtype, rows, inner, columns in that order.

    The fused kernel counts where it is predicted to be the faster one.
    """
    algorithms = [encoders("4x4x4", rank) for rank in RANKS]
    found = []
    for device, dtype, *shape in itertools.product(common_gpus(), DTYPES, ROWS, WIDTHS, WIDTHS):
        predictions = [predict(tuple(shape), algorithm, dtype, device) for algorithm in algorithms]
        seconds = (predictions[0].dense, *(p.total for p in predictions))
        found.append([float(f"{s:.3g}") for s in seconds])
    return found


def _choice(name: str, label: str, values: tuple[object, ...], chosen: object) -> str:
    options = "".join(f"<option{' selected' if value == chosen else ''}>{value}</option>" for value in values)
    return f'<label for="stl-{name}">{label}</label> <select id="stl-{name}">{options}</select> '


def calculator() -> str:
    """The calculator as a piece of HTML; its look is the page's."""
    devices = tuple(common_gpus())
    choices = (
        _choice("device", "device", devices, devices[-1])
        + _choice("dtype", "precision", DTYPES, DTYPES[0])
        + _choice("rows", "rows (batch times sequence)", ROWS, 4096)
        + _choice("inner", "features in", WIDTHS, 4096)
        + _choice("columns", "features out", WIDTHS, 4096)
    )
    rows = "".join(
        f'<tr><th scope="row">rank {rank}{", exact" if rank == 48 else ""}</th><td>{64 / rank:.2f}</td>'
        f'<td id="stl-time-{i}"></td><td id="stl-speed-{i}"></td></tr>'
        for i, rank in enumerate(RANKS)
    )
    table = json.dumps({"times": times()}, separators=(",", ":"))
    return (
        f'<div role="group" aria-label="Roofline calculator"><p>{choices}</p>'
        '<div aria-live="polite"><p>Dense product: <strong id="stl-dense"></strong></p>'
        '<table class="docutils"><thead><tr><th scope="col">encoders of &lt;4,4,4&gt;</th>'
        '<th scope="col">core ratio</th><th scope="col">predicted time</th>'
        '<th scope="col">dense over STL</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></div>"
        f'<script type="application/json" id="stl-table">{table}</script><script>{SCRIPT}</script>'
    )
