"""What looks like a measured figure and is none: page, words, and why it needs no source."""

from tests.figures.of_mathematics import THEORY
from tests.figures.of_numerics import GAUSS_NEWTON, LEAST_SQUARES
from tests.figures.of_training import TRAINING

VERSION = "a version"
SETTING = "how it was measured"
TESTED = "a bound that the test beside it asserts"
PUBLISHED = "published, with its source on the page"
ARITHMETIC = "arithmetic that stands beside it"

ALLOWED = [
    ("README.md", r"The Jargon File 4\.4", VERSION),
    ("docs/start.md", r"Python 3\.11", VERSION),
    ("docs/machines.md", r"optuna-dashboard 0\.21", VERSION),
    (LEAST_SQUARES, r"eps = 0\.1\b", SETTING),
    (LEAST_SQUARES, r"eps = 0\.01", SETTING),
    (LEAST_SQUARES, r"condition 1e6", SETTING),
    (LEAST_SQUARES, r"excess at most 1e-12 with spikes of size 1e6", TESTED),
    (LEAST_SQUARES, r"at most 1e-9 on rotated rows of condition 1e5", TESTED),
    (LEAST_SQUARES, r"up to 1e6 / sqrt\(d\) are resolved, at 1e8 it", TESTED),
    (LEAST_SQUARES, r"R factors resolve 1e13", TESTED),
    (LEAST_SQUARES, r"even to 1 %", PUBLISHED),
    (GAUSS_NEWTON, r"1 % of its start", SETTING),
    ("docs/will-it-help.md", r"a ratio of 1\.6 to 2 wanted", "what somebody asks for"),
    (THEORY, r"that is \.5 at rank 32", ARITHMETIC),
    (THEORY, r"about 1 % takes", PUBLISHED),
    (THEORY, r"down to 1e-7", ARITHMETIC),
    (TRAINING, r"2\.7 times fewer multiplications at \+0\.5 points", PUBLISHED),
    (TRAINING, r"\+0\.5 points at 2\.7 times fewer", PUBLISHED),
    (TRAINING, r"agree to 1e-10", TESTED),
    (TRAINING, r"equal to 1e-10", TESTED),
    (TRAINING, r"Intervals are 95%", SETTING),
    (TRAINING, r"1\.28 million images", "the number of ImageNet's images"),
    (TRAINING, r"at 1e14 a second", "a rate assumed"),
]
