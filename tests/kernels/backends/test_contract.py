"""The contract of every backend: values and gradients against float64, odd sizes, strides, repetition.

An error ratio is |out - reference|_F / |reference|_F with the reference computed in float64 from the same
(already rounded) operands, so it holds the backend's own rounding only.
"""

import numpy as np
import pytest
import torch

from stl_algebra import BilinearAlgorithm, InvalidInput, TileFormat, Unavailable, definition
from stl_kernels import BACKENDS, is_available, ops, stl_matmul
from stl_kernels.backends import get_backend
from stl_kernels.backends.cpu import CpuBackend
from stl_kernels.contract.calls import Linear

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Unit roundoff times the few roundings on the way: encode, core, decode each round their result once.
RATIO = {torch.float64: 1e-14, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}
CASES = [
    pytest.param(backend, dtype, id=f"{backend}-{str(dtype)[6:]}")
    for backend in ("reference", "cpu", "triton")
    for dtype in RATIO
    if is_available(backend, DEVICE, dtype)
]
# Core and decode in one kernel, beside the cases whose `fused` is False.
FUSED_CASES = [
    pytest.param("triton", case.values[1], True, id=f"{case.id}-fused")
    for case in CASES
    if case.values[0] == "triton"
]
CASES_AND_FUSED = [pytest.param(*case.values, False, id=case.id) for case in CASES] + FUSED_CASES
# One small size in the quick part; the interpreter makes the others slow.
SIZES = [
    (1, 1, 1),
    *(
        pytest.param(size, marks=pytest.mark.slow)
        for size in [(3, 257, 5), (37, 45, 51), (64, 32, 16), (5, 17, 257)]
    ),
]


def random_algorithm(tile, rank, seed=0):
    t = TileFormat.parse(tile)
    rng = np.random.default_rng(seed)
    shapes = ((rank, t.x_size), (rank, t.w_size), (t.y_size, rank))
    return BilinearAlgorithm(t, *(rng.normal(size=s) / np.sqrt(rank) for s in shapes))


def operands(size, tile, rank, dtype, permuted):
    t = TileFormat.parse(tile)
    rows, inner, columns = size
    algorithm = random_algorithm(tile, rank)
    generator = torch.Generator().manual_seed(sum(size))
    l, j = -(-inner // t.k), -(-columns // t.m)
    floats = [
        torch.randn(rows, inner, generator=generator),
        torch.tensor(algorithm.encode_x),
        torch.randn(rank, l, j, generator=generator),
        torch.tensor(algorithm.decode),
        torch.randn(columns, generator=generator),
    ]
    floats = [f.to(DEVICE, dtype) for f in floats]
    order = torch.randperm(inner, generator=generator).to(DEVICE) if permuted else None
    return floats, (columns, t.n, t.k, t.m, order)


def ratio(out, expected):
    assert bool(torch.isfinite(out).all())
    scale = float(expected.norm())
    return float((out.double() - expected).norm()) / scale if scale else float(out.norm())


def test_triton_is_among_the_cases():
    pytest.importorskip("triton")
    assert any(case.values[0] == "triton" for case in CASES)


@pytest.mark.slow
@pytest.mark.parametrize("strided", [False, True], ids=["consecutive", "strided"])
@pytest.mark.parametrize(("backend", "dtype", "fused"), CASES_AND_FUSED)
@pytest.mark.parametrize("size", SIZES)
def test_forward_and_gradients_match_float64(size, backend, dtype, fused, strided):
    tile, rank = ("4", 24) if size[0] > 4 else ("2x3x4", 5)
    floats, plain = operands(size, tile, rank, dtype, permuted=size[0] % 2 == 1)
    narrow = [f.clone().requires_grad_() for f in floats]
    wide = [f.double().requires_grad_() for f in floats]
    grad = torch.randn(size[0], size[2], generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)
    out = ops.linear(*narrow, *plain, strided, fused, backend)
    expected = ops.linear(*wide, *plain, strided, None, "reference")
    assert out.dtype == dtype
    assert ratio(out.detach(), expected.detach()) < RATIO[dtype]
    if fused and size[0] > 1:
        return  # Its gradients are the other kernels', see below.
    out.backward(grad)
    expected.backward(grad.double())
    for a, b in zip(narrow, wide, strict=True):
        assert a.grad.shape == a.shape
        assert ratio(a.grad, b.grad) < 3 * RATIO[dtype]


def sampled(seed, count, largest, *more_tiles):
    """Random (N, K, M), tile, rank, tiling, permuted; sizes to `largest`, mostly not multiples of a side."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        # Sizes spread over the scales, so that small ones and ones past a kernel's block both come up.
        size = tuple(int(v) for v in np.exp(rng.uniform(0, np.log(largest + 1), 3)))
        tile = str(rng.choice(["4", "2x3x4", "3x5x2", "1x2x3", "5", *more_tiles]))
        yield size, tile, int(rng.integers(1, 40)), bool(rng.integers(2)), bool(rng.integers(2))


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "dtype"), CASES)
def test_sampled_sizes_match_float64(backend, dtype):
    # The interpreter runs a kernel's programs one after the other in Python: fewer and smaller samples there.
    interpreted = backend == "triton" and DEVICE == "cpu"
    for size, tile, rank, strided, permuted in sampled(7, *((18, 60) if interpreted else (60, 257))):
        floats, plain = operands(size, tile, rank, dtype, permuted)
        narrow = [f.clone().requires_grad_() for f in floats]
        wide = [f.double().requires_grad_() for f in floats]
        # Of its own seed: where few numbers nearly cancel, no relative bound holds.
        grad = torch.randn(size[0], size[2], generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)
        out, expected = (
            ops.linear(*narrow, *plain, strided, None, backend),
            ops.linear(*wide, *plain, strided, None, "reference"),
        )
        case = (size, tile, rank, strided, permuted)
        assert ratio(out.detach(), expected.detach()) < RATIO[dtype], case
        out.backward(grad)
        expected.backward(grad.double())
        for a, b in zip(narrow, wide, strict=True):
            assert ratio(a.grad, b.grad) < 3 * RATIO[dtype], case


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "dtype", "fused"), FUSED_CASES)
def test_fused_decode_on_sampled_sizes(backend, dtype, fused):
    """Sizes to 257 with and without bias, tiles from 1 to 81 entries: several blocks and several passes."""
    count = 32 if DEVICE == "cpu" else 100
    for number, (size, tile, rank, strided, permuted) in enumerate(sampled(11, count, 257, "9x1x9")):
        floats, plain = operands(size, tile, rank, dtype, permuted)
        if number % 2:
            floats[4] = None
        wide = [f.double() if f is not None else None for f in floats]
        expected = ops.linear(*wide, *plain, strided, None, "reference")
        out = ops.linear(*floats, *plain, strided, fused, backend)
        assert ratio(out, expected) < RATIO[dtype], (size, tile, rank, strided, permuted)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "dtype", "fused"), FUSED_CASES)
def test_fused_decode_has_the_gradients_of_two_kernels(backend, dtype, fused):
    floats, plain = operands((5, 7, 9), "2x3x4", 5, dtype, permuted=True)
    gradients = []
    for one in (False, fused):
        leaves = [f.clone().requires_grad_() for f in floats]
        ops.linear(*leaves, *plain, True, one, backend).backward(torch.ones(5, 9, device=DEVICE, dtype=dtype))
        gradients.append([leaf.grad for leaf in leaves])
    for two_kernels, one_kernel in zip(*gradients, strict=True):
        assert torch.equal(two_kernels, one_kernel)


@pytest.mark.slow
@pytest.mark.parametrize("strided", [False, True], ids=["consecutive", "strided"])
@pytest.mark.parametrize("size", [(37, 45, 51), (40, 48, 52)], ids=str)
def test_blocks_and_chunks_of_the_cpu_layer_do_not_show(size, strided):
    floats, plain = operands(size, "4", 24, torch.float32, permuted=False)
    expected = ops.linear(*[f.double().cpu() for f in floats], *plain, strided, None, "reference")
    call = Linear(*[f.cpu() for f in floats], *plain, strided, None, "cpu")
    for workspace, chunk in ((1, 1), (1, 1 << 20), (1 << 20, 1), (20_000, 2_000)):
        backend = CpuBackend(workspace, workspace, least_height=3, chunk=chunk)
        assert ratio(backend.linear(call), expected) < RATIO[torch.float32]


def test_the_kept_workspace_leaves_earlier_results_alone():
    floats, plain = operands((37, 45, 51), "4", 24, torch.float32, permuted=False)
    floats = [f.cpu() for f in floats]
    first = ops.linear(*floats, *plain, True, None, "cpu")
    kept = first.clone()
    ops.linear(floats[0] + 1, *floats[1:], *plain, True, None, "cpu")
    assert torch.equal(first, kept)


@pytest.mark.parametrize("strided", [False, True], ids=["consecutive", "strided"])
def test_reference_is_the_definition(strided):
    algorithm = random_algorithm("2x3x4", 7)
    x, w = torch.randn(6, 9, dtype=torch.float64), torch.randn(9, 8, dtype=torch.float64)
    out = stl_matmul(x, w, algorithm, tiling="strided" if strided else "consecutive", backend="reference")
    if strided:
        # The strided tiling is the consecutive one of permuted features, on both sides.
        into, onto = torch.arange(9).view(3, 3).T.reshape(-1), torch.arange(8).view(4, 2).T.reshape(-1)
        expected = torch.empty(6, 8, dtype=torch.float64)
        expected[:, onto] = torch.tensor(algorithm.multiply(x[:, into], w[into][:, onto]))
    else:
        expected = torch.tensor(algorithm.multiply(x, w))
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "dtype", "fused"), CASES_AND_FUSED)
def test_exact_algorithm_gives_the_product(backend, dtype, fused):
    generator = torch.Generator().manual_seed(1)
    x, w = (torch.randn(s, generator=generator).to(DEVICE, dtype) for s in ((3, 5, 10), (10, 7)))
    out = stl_matmul(x, w, definition(TileFormat(2, 3, 2)), fused=fused, backend=backend)
    assert ratio(out, x.double() @ w.double()) < RATIO[dtype]


@pytest.mark.parametrize(
    ("backend", "dtype", "fused"),
    [
        *(case for case in CASES_AND_FUSED if "triton" not in case.values),
        *(
            pytest.param(*case.values, id=case.id, marks=pytest.mark.slow)
            for case in CASES_AND_FUSED
            if "triton" in case.values
        ),
    ],
)
def test_empty_strided_poisoned_and_repeated(backend, dtype, fused, monkeypatch):
    (x, encode_x, encoded_w, decode, bias), plain = operands((37, 45, 51), "4", 24, dtype, permuted=True)

    def run(*floats):
        return ops.linear(*floats, *plain, True, fused, backend)

    def transposed(tensor):
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)

    assert run(x[:0], encode_x, encoded_w, decode, bias).shape == (0, 51)
    clean = run(x, encode_x, encoded_w, decode, bias)
    doubled = torch.stack([x, x], 2)[..., 0]
    views = run(doubled, transposed(encode_x), transposed(encoded_w), transposed(decode), bias)
    assert ratio(views, clean.double()) < RATIO[dtype]
    turned = run(transposed(x), encode_x, encoded_w, decode, bias)
    assert ratio(turned, clean.double()) < RATIO[dtype]
    assert torch.equal(clean, run(x, encode_x, encoded_w, decode, bias))

    def poisoning(make):
        def made(*args, **kwargs):
            out = make(*args, **kwargs)
            return out.fill_(float("nan")) if out.is_floating_point() else out

        return made

    monkeypatch.setattr(torch.Tensor, "new_empty", poisoning(torch.Tensor.new_empty))
    monkeypatch.setattr(torch, "empty", poisoning(torch.empty))
    poisoned = get_backend(backend, x.device, dtype).linear(
        Linear(x, encode_x, encoded_w, decode, bias, *plain, True, fused, backend)
    )
    assert torch.equal(poisoned, clean)


@pytest.mark.slow
def test_higher_derivatives_exist():
    floats, plain = operands((3, 5, 4), "2", 3, torch.float64, permuted=True)
    inputs = [f.requires_grad_() for f in floats]
    assert torch.autograd.gradcheck(lambda *a: ops.linear(*a, *plain, True, None, "reference"), inputs)
    assert torch.autograd.gradgradcheck(lambda *a: ops.linear(*a, *plain, True, None, "reference"), inputs)


@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in BACKENDS if is_available(b, DEVICE)])
@pytest.mark.parametrize("name", ["encode", "core", "decode", "correlate", "linear"])
def test_opcheck(name, backend):
    floats, (columns, n, k, m, order) = operands((6, 8, 10), "4", 5, torch.float32, permuted=True)
    x, encode_x, encoded_w, decode, bias = (f.requires_grad_() for f in floats)
    encoded = ops.encode(x, encode_x, n, k, order, True, backend).detach().requires_grad_()
    products = ops.core(encoded, encoded_w, backend).detach().requires_grad_()
    arguments = {
        "encode": (x, encode_x, n, k, order, True, backend),
        "core": (encoded, encoded_w, backend),
        "decode": (products, decode, bias, 6, columns, n, m, None, True, backend),
        "correlate": (encoded, x, n, k, order, True, backend),
        "linear": (x, encode_x, encoded_w, decode, bias, columns, n, k, m, order, True, None, backend),
    }[name]
    torch.library.opcheck(getattr(ops, name), arguments)


def test_autocast_casts_and_keeps_gradients_in_their_own_dtype():
    floats, plain = operands((8, 8, 8), "4", 5, torch.float32, permuted=False)
    x = floats[0].requires_grad_()
    with torch.autocast(DEVICE, torch.bfloat16):
        out = ops.linear(x, *floats[1:], *plain, False, None, "auto")
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert x.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("position", "change", "argument"),
    [
        (0, lambda t: t.double(), "encode_x"),
        (0, lambda t: t.int(), "x"),
        (2, lambda t: t.half(), "encoded_w"),
        (4, lambda t: t.to("meta"), "bias"),
        (0, lambda t: t[:, :-4], "x"),
        (1, lambda t: t[:, :-1], "encode_x"),
        (3, lambda t: t[:-1], "decode"),
        (2, lambda t: t[:-1], "encoded_w"),
        (2, lambda t: t[:, :, :-1], "columns"),
        (4, lambda t: t[:-1], "bias"),
    ],
)
def test_wrong_operands_are_named(position, change, argument):
    floats, plain = operands((8, 8, 8), "4", 5, torch.float32, permuted=False)
    floats[position] = change(floats[position])
    with pytest.raises(InvalidInput) as caught:
        ops.linear(*floats, *plain, False, None, "auto")
    assert caught.value.argument == argument


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_factors_that_are_not_finite_are_named(bad):
    floats, plain = operands((8, 8, 8), "4", 5, torch.float32, permuted=False)
    for position, name in ((1, "encode_x"), (3, "decode")):
        broken = [f.cpu().clone() for f in floats]
        broken[position][0, 0] = bad
        with pytest.raises(InvalidInput, match=f"{name}: expected finite entries"):
            ops.linear(*broken, *plain, False, None, "reference")
    factor = torch.full((5, 16), bad)
    with pytest.raises(InvalidInput, match="factor: expected finite"):
        ops.encode(torch.ones(4, 4), factor, 4, 4, None, True, "cpu")
    with pytest.raises(InvalidInput, match="factor: expected finite"):
        ops.decode(torch.ones(5, 1, 1), factor.t(), None, 4, 4, 4, 4, None, True, "cpu")


def test_backends_are_named_or_refused():
    floats, plain = operands((8, 8, 8), "4", 5, torch.float32, permuted=False)
    with pytest.raises(InvalidInput, match="reference, cpu, triton"):
        ops.linear(*floats, *plain, False, None, "cuda")
    wide = [f.double() for f in floats]
    with pytest.raises(Unavailable, match="float32, float16 and bfloat16"):
        ops.linear(*wide, *plain, False, None, "triton")
