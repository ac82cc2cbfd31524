"""T2T-ViT: the published sizes, any image size, and attention that is linear in the tokens."""

import pytest
import torch
import torch.nn.functional as F

from stl_algebra.errors import InvalidInput
from stl_kernels import LayerOptions, STLLinear
from stl_models import replace_linears_
from stl_models.training.controls import count_image, low_rank_linears_, narrowed
from stl_models.training.counting import count, ratios
from stl_models.vision import MODELS, T2TConfig, T2TViT, t2t_vit
from stl_models.vision.tokens import Block, TokensToTokens

SMALL = T2TConfig(
    size=16, classes=3, width=16, depth=2, token_width=8, splits=((7, 4, 2), (3, 2, 1)), pooling="mean"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions", "billions"), [("t2t-vit-7", 4.3, 1.1), ("t2t-vit-14", 21.5, 4.8)]
)
def test_sizes_are_the_published_ones(name, millions, billions):
    """Yuan et al. 2021 print one decimal; ours, with the products of attention, round to it."""
    taken = count_image(t2t_vit(name), MODELS[name])
    assert taken.parameters == pytest.approx(1e6 * millions, rel=0.02)
    assert (
        round(taken.everything / 1e9 - 0.05 + 1e-12, 1) <= billions <= round(taken.everything / 1e9 + 0.05, 1)
    )
    assert taken.moved == 0


@pytest.mark.slow
def test_rank_24_reports_the_core_ratio_and_that_of_everything():
    model = t2t_vit("t2t-vit-7")
    with torch.no_grad():
        dense = count_image(model, model.config)
        replace_linears_(model, "4x4x4-r24", skip=("head",), layer=LayerOptions(row_grouping="sequence"))
        tiles = count_image(model, model.config)
    found = ratios(dense, tiles)
    # 64/24 = 2.67 but for the head, and padding: 197 tokens to 200, 147 features to 148.
    assert 2.6 < found["core"] < 64 / 24
    assert 1.5 < found["everything"] < 1.7
    assert tiles.other == dense.other


def test_counts_are_products_of_sizes():
    block = Block(16, 4, 32)
    taken = count(block, torch.randn(3, 5, 16))
    rows = 15
    assert taken.core == rows * (16 * 48 + 16 * 16 + 2 * 16 * 32)
    assert taken.other == 3 * 2 * 5 * 5 * 16
    layer = STLLinear(16, 8, "4x4x4-r24", row_grouping="sequence")
    tiles = count(layer, torch.randn(3, 5, 16))
    # Five rows a sequence are padded to eight: two tiles.
    assert tiles.core == 3 * 2 * 24 * 4 * 2
    assert tiles.moved == 3 * 2 * 24 * 16 * (4 + 2)


@pytest.mark.parametrize("tokens", ["performer", "transformer"])
@pytest.mark.parametrize("pooling", ["mean", "class"])
@pytest.mark.parametrize("size", [16, (16, 24)])
def test_any_size_gives_logits_and_gradients_everywhere(tokens, pooling, size):
    torch.manual_seed(0)
    model = T2TViT(T2TConfig(**{**vars(SMALL), "tokens": tokens, "pooling": pooling, "size": size}))
    logits = model(torch.randn(2, 3, *model.config.extent))
    assert logits.shape == (2, 3)
    F.cross_entropy(logits, torch.tensor([0, 2])).backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_the_performer_estimates_softmax_attention():
    """With many Gaussian directions; orthogonal ones have the same length each."""
    rows = TokensToTokens(4, 8, "performer").directions
    torch.testing.assert_close(rows @ rows.t(), 4 * torch.eye(4))
    torch.manual_seed(0)
    q, k, v = (0.3 * torch.randn(2, 6, 8, dtype=torch.float64) for _ in range(3))
    directions = torch.randn(16_000, 8, dtype=torch.float64)
    wanted = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    got = TokensToTokens._linear_attention(q, k, v, directions)
    assert float((got - wanted).norm() / wanted.norm()) < 0.05


@pytest.mark.slow
def test_controls_take_the_multiplications_asked_for():
    config = MODELS["t2t-vit-small-32"]
    model = T2TViT(config)
    dense = count_image(model, config)
    for full in (False, True):
        wanted = dense.core * 0.5 if not full else dense.everything * 0.5
        narrow = narrowed(config, int(wanted), everything=full)
        taken = count_image(T2TViT(narrow), narrow)
        assert (taken.everything if full else taken.core) == pytest.approx(wanted, rel=0.1)
        assert (narrow.depth, narrow.heads, narrow.splits) == (config.depth, config.heads, config.splits)
    x = torch.randn(512, 128)
    wide = model.blocks[0].qkv(x).var()
    low_rank_linears_(model, 2.0, ("head",))
    taken = count_image(model, config)
    assert 0.45 * dense.core < taken.core <= 0.5 * dense.core + config.width * config.classes
    assert float((model.blocks[0].qkv(x).var() / wide).detach()) == pytest.approx(1.0, rel=0.25)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: t2t_vit("t2t-vit-8"), "model"),
        (lambda: T2TViT(T2TConfig(size=1, splits=((7, 4, 2), (7, 2, 0)))), "size"),
        (lambda: T2TViT(T2TConfig(width=30)), "heads"),
        (lambda: T2TViT(T2TConfig(tokens="none")), "tokens"),
        (lambda: T2TViT(T2TConfig(classes=1)), "classes"),
        (lambda: T2TViT(SMALL)(torch.zeros(1, 3, 8, 8)), "images"),
        (lambda: narrowed(SMALL, 1), "wanted"),
    ],
)
def test_refusals_name_the_argument(make, named):
    with pytest.raises(InvalidInput) as raised:
        make()
    assert raised.value.argument == named
