"""What SECURITY.md says: nothing read is run, nothing is fetched, files stay in their folder."""

import ast
import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from stl_algebra import encoders, load_encoders, save_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.errors import InvalidInput
from stl_kernels import STLLinear
from stl_models.storage.shards import INDEX, contents, read_folder
from tests.search.cli.calling import call

ROOT = Path(__file__).parents[1]
PACKAGES = ("stl_algebra", "stl_kernels", "stl_models", "stl_search")
#: Calls that run what they read, by their last two names.
DANGEROUS = {
    "pickle.load", "pickle.loads", "dill.load", "joblib.load", "marshal.loads", "shelve.open", "yaml.load",
    "torch.load", "eval", "exec", "os.system", "runpy.run_path",
}  # fmt: skip


def dotted(node):
    if isinstance(node, ast.Attribute):
        return [*dotted(node.value), node.attr]
    return [node.id] if isinstance(node, ast.Name) else []


def calls():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield path.relative_to(ROOT), node


@pytest.mark.slow
def test_no_package_calls_what_runs_what_it_reads():
    seen = 0
    for path, node in calls():
        seen += 1
        names = dotted(node.func)
        if names[:2] != ["safetensors", "torch"]:
            assert ".".join(names[-2:]) not in DANGEROUS, f"{path}:{node.lineno}"
        keywords = {k.arg: k.value for k in node.keywords}
        for name in ("allow_pickle", "shell", "trust_remote_code"):
            value = keywords.get(name)
            assert value is None or getattr(value, "value", None) is False, f"{path}:{node.lineno} {name}"
        if names[-1:] == ["load"] and names[:1] == ["np"]:
            assert "allow_pickle" in keywords, f"{path}:{node.lineno}"
    assert seen > 1000


def test_no_package_asks_for_a_url():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            found = re.findall(
                r"^\s*(?:import|from)\s+(urllib\.request|requests|http\.client|httpx|aiohttp)", text, re.M
            )
            assert not found, path


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def test_work_without_a_network(offline, tmp_path):
    save_encoders(tmp_path / "e.safetensors", Judged.of(encoders("4x4x4", 32)))
    assert STLLinear(8, 8, tmp_path / "e.safetensors")(torch.ones(2, 8)).shape == (2, 8)
    for command in (
        ("verify", "2x2x2-r7"),
        ("frontier", tmp_path, "--json"),
        ("group", "S3", "--json"),
    ):
        assert call(*command).exit_code == 0


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""])
def test_an_index_names_files_beside_it_only(tmp_path, name):
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(InvalidInput, match="index"):
        read_folder(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"weight_map": 3}', '{"weight_map": ["a"]}'])
def test_a_damaged_index_is_named(tmp_path, text):
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(InvalidInput, match="index"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [-8, 8]},
        {"dtype": "F32", "shape": [-1, -4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]},
        {"dtype": "code", "shape": [4], "data_offsets": [0, 16]},
    ],
)
def test_a_shard_whose_table_lies_is_refused(tmp_path, entry):
    table = json.dumps({"w": entry}).encode()
    (tmp_path / "m.safetensors").write_bytes(len(table).to_bytes(8, "little") + table + bytes(16))
    with pytest.raises(InvalidInput, match="shard"):
        contents(tmp_path / "m.safetensors")


def test_a_certificate_of_other_numbers_is_not_believed(tmp_path):
    path = tmp_path / "e.safetensors"
    save_encoders(path, Judged.of(encoders("2x2x2", 7)))
    assert load_encoders(path).judged().exact
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))
    assert not load_encoders(path).judged().exact


def test_other_tensors_are_no_encoders(tmp_path):
    save_file({"encode_x": np.zeros((1, 1))}, tmp_path / "other.safetensors")
    with pytest.raises(InvalidInput):
        load_encoders(tmp_path / "other.safetensors")


def test_what_the_document_names_is_here():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) >= 8
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), test
