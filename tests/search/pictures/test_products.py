"""Algorithms as pictures: every entry is shown, signs are told without colours, orbits are named."""

import numpy as np
import pytest

from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import laderman, strassen
from stl_algebra.families.orbits.stabiliser import stabiliser
from stl_algebra.published import encoders
from stl_search.pictures.files import check_picture_path, save_figure
from stl_search.pictures.products import factors_picture, orbits_picture
from tests.search.cli.calling import call


def images(axes):
    return [np.asarray(image.get_array()) for image in axes.get_images()]


def dashes(axes):
    return sum(len(points.get_offsets()) for points in axes.collections)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [strassen(), laderman(), encoders("2x3x4", 20)], ids=str)
def test_every_entry_of_the_factors_is_shown_and_negative_ones_have_a_dash(algorithm):
    panels = factors_picture(algorithm).axes
    factors = (algorithm.encode_x, algorithm.encode_w, algorithm.decode.T)
    for axes, factor in zip(panels, factors, strict=True):
        (shown,) = images(axes)
        np.testing.assert_allclose(shown * np.abs(factor).max(), factor)
        assert dashes(axes) == np.count_nonzero(factor < 0)


@pytest.mark.slow
def test_products_stand_orbit_by_orbit():
    found = stabiliser(laderman())
    (axes,) = orbits_picture(found).axes
    drawn = images(axes)
    assert len(drawn) == 3 * 23
    first = max(found.orbits, key=len)
    for place, product in enumerate(first):
        matrix = found.algorithm.encode_x[product].reshape(3, 3)
        np.testing.assert_allclose(drawn[3 * place] * np.abs(matrix).max(), matrix)
    words = [text.get_text() for text in axes.texts]
    assert [int(w.split(":")[0].split()[-1]) for w in words if w.startswith("orbit")] == [8, 6, 4, 4]
    assert sum(w.startswith("fixed product") for w in words) == 1


@pytest.mark.slow
def test_the_third_matrix_is_that_of_the_transposed_product():
    found = stabiliser(encoders("2x3x4", 20))
    (axes,) = orbits_picture(found).axes
    assert {image.shape for image in images(axes)} == {(2, 3), (3, 4), (4, 2)}


@pytest.mark.slow
def test_the_same_picture_is_the_same_file(tmp_path):
    paths = [save_figure(factors_picture(strassen()), tmp_path / name) for name in ("a.png", "b.png")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with pytest.raises(InvalidInput, match=r"\.svg, \.png"):
        check_picture_path(tmp_path / "a.gif")


@pytest.mark.slow
def test_commands_draw(tmp_path):
    outcome = call("symmetry", "2x2x2-r7", "--picture", tmp_path / "orbits.svg")
    assert outcome.exit_code == 0
    assert (tmp_path / "orbits.svg").read_bytes().startswith(b"<?xml")
    assert call("export", "2x2x2-r7", "--to", tmp_path / "factors.png").exit_code == 0
    assert (tmp_path / "factors.png").read_bytes().startswith(b"\x89PNG")
    refused = call("symmetry", "2x2x2-r7", "--picture", tmp_path / "orbits.gif")
    assert refused.exit_code == 2
    assert "picture" in refused.output
