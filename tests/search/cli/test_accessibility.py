"""First words, completion, and output in pipes, narrow terminals and terminals without colours."""

import os
import pty
import re
import shlex
import subprocess
import sys

import click
import pytest
from click.shell_completion import BashComplete
from rich.console import Console

from stl_algebra.families import FAMILIES
from stl_algebra.groups import NAME_TABLE
from stl_kernels import common_gpus
from stl_models.activations import CaptureOptions
from stl_models.recipes import RECIPES
from stl_models.vision import MODELS
from stl_search.cli import main
from stl_search.cli.main import COMMANDS, TASKS
from stl_search.cli.terminal import table
from stl_search.matrices.ensembles import ENSEMBLES
from stl_search.matrices.names import ENSEMBLE_NAMES
from tests.search.cli.calling import call
from tests.search.cli.test_start_up import HEAVY

START = "import sys; sys.argv[0] = 'stl-search'; from stl_search.cli import main; main()"
PROGRAM = [sys.executable, "-c", START]
#: A command with a table that imports little.
LISTING = ("frontier", "results/frontier-4x4x4")
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NUMBERS = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def piped(*arguments, **environment):
    """stdout and stderr in a process of its own, neither of them a terminal."""
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "TERM", "FORCE_COLOR")}
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, check=True, env=kept | environment
    )


def on_a_terminal(*arguments, **environment):
    """What a terminal of the environment's kind is sent, stdout and stderr."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=kept | environment
    ):
        os.close(theirs)
        sent = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            sent += part
    os.close(ours)
    return sent.decode()


def complete(*words):
    """What a shell is offered for the last of these words, as (kind, value)."""
    found = BashComplete(main, {}, "stl-search", "_STL_SEARCH_COMPLETE").get_completions(
        list(words[:-1]), words[-1]
    )
    return [(item.type, item.value) for item in found]


def values(*words):
    return [value for _, value in complete(*words)]


def test_alone_it_shows_six_things_to_do_and_where_the_rest_is():
    shown = call()
    assert shown.exit_code == 0
    assert len(TASKS) == 6
    for task, command in TASKS:
        assert f"{task}:\n  {command}\n" in shown.stdout
    assert "stl-search --help" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 100


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for _, command in TASKS])
def test_what_it_shows_can_be_typed(command):
    """Commands that take minutes or files of the reader's are parsed to their last word."""
    _, name, *rest = shlex.split(command)
    assert name in COMMANDS
    if name == "verify":
        assert "exact over" in call(name, *rest).stdout
        return
    found = main
    words = [name, *rest]
    while isinstance(found, click.Group):
        found = found.get_command(click.Context(found), words.pop(0))
    found.make_context(name, words)


def test_help_lists_every_command_in_sections():
    shown = call("--help").stdout
    for heading in ("Search:", "Algorithms:", "Groups:", "Models:"):
        assert f"\n{heading}\n" in shown
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", shown, flags=re.MULTILINE)


def test_names_of_commands_and_options_complete():
    assert values("fi") == ["find"]
    assert set(values("")) >= set(COMMANDS)
    assert values("find", "--sy") == ["--symmetry"]
    assert values("train", "") == ["vision", "lm"]
    assert values("train", "lm", "--fac") == ["--factors", "--factor-lr"]
    assert "--version" in values("--")


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (("find", "4x4x"), "4x4x4"),
        (("find", "4x4x4", "--symmetry", "rat"), "rational-48"),
        (("find", "4x4x4", "--method", "least"), "least-squares"),
        (("verify", "4x4x4-r4"), "4x4x4-r48"),
        (("evaluate", "4x4x4-r32-"), "4x4x4-r32-sorted"),
        (("evaluate", "4x4x4-r32", "--dtype", "f"), "fp16"),
        (("evaluate", "4x4x4-r32", "--matrices", "heavy"), "heavy-tailed"),
        (("run", "--group", "SL"), "SL(2,3)"),
        (("run", "--family", "four"), "fourier-spectral"),
        (("run", "--tile", "3x"), "3x3x3"),
        (("run", "--strategy", ""), "rounds"),
        (("group", "Q"), "Q8"),
        (("convert", "x", "--repair", "a"), "always"),
        (("convert", "x", "--recipe", "pivot"), "pivoted-low-rank"),
        (("convert", "x", "--recipe", ""), "exact"),
        (("convert", "x", "--device", "H2"), "H200"),
        (("frontier", "--ratio", "2", "--device", "h2"), "h200"),
        (("frontier", "--device", ""), "A100"),
        (("bench", "layer", "4x4x4-r48", "--device", "cu"), "cuda"),
        (("bench", "peaks", "--device", ""), "cpu"),
        (("train", "lm", "--device", "c"), "cuda"),
        (("train", "vision", "--device", "c"), "cuda"),
        (("train", "vision", "--model", "t2t-vit-s"), "t2t-vit-small-32"),
        (("schema", "ver"), "verify"),
        (("completion", "z"), "zsh"),
    ],
)
def test_values_complete(words, value):
    found = values(*words)
    assert value in found
    assert all(name.startswith(words[-1]) for name in found)


def test_files_complete_where_files_are_taken():
    for words in (("verify", "results/"), ("convert", "./al"), ("find", "2", "--from", "a")):
        assert ("file", words[-1]) in complete(*words)


def test_names_that_complete_are_those_that_exist():
    assert values("run", "--family", "") == list(FAMILIES)
    assert {family.name for family in FAMILIES.values()} == set(FAMILIES)
    assert values("group", "") == list(NAME_TABLE)
    assert tuple(ENSEMBLES) == ENSEMBLE_NAMES
    assert set(RECIPES) == set(values("convert", "x", "--recipe", ""))
    assert tuple(MODELS) == tuple(values("train", "vision", "--model", ""))
    assert values("convert", "x", "--device", "") == ["cpu", "cuda", *common_gpus()]


def commands(group, *names):
    """Words and command of every command, those of groups too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*names, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)


def test_every_device_and_recipe_completes():
    having = [
        (*words, option)
        for words, command in commands(main)
        for parameter in command.params
        for option in {"--device", "--recipe"} & set(parameter.opts)
    ]
    assert ("convert", "--recipe") in having
    assert ("train", "vision", "--device") in having
    assert [words for words in having if not values(*words, "")] == []


def test_defaults_that_are_written_twice_agree():
    command = main.get_command(None, "capture")
    given = {p.name: p.get_default(click.Context(command)) for p in command.params}
    own = CaptureOptions()
    assert (
        CaptureOptions(given["layers"], given["rows"], given["moment_rows"], given["length"], given["seed"])
        == own
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "fi",
        "run --fa",
        "run --family f",
        "verify 4x4x4-r4",
        "convert --re",
        "bench layer --ti",
        "convert x --recipe e",
        "frontier --device H",
        "train vision --model t",
    ],
)
def test_completion_imports_nothing_heavy(words):
    program = (
        "import sys; sys.argv[0] = 'stl-search'\n"
        "from stl_search.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('MODULES', *{name.split('.')[0] for name in sys.modules})"
    )
    asked = {"_STL_SEARCH_COMPLETE": "bash_complete", "COMP_WORDS": f"stl-search {words}"}
    asked["COMP_CWORD"] = str(len(words.split()))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | asked
    )
    *offered, modules = done.stdout.splitlines()
    assert offered
    # Families' registry knows groups, whose arithmetic is sympy's.
    assert not set(modules.split()) & (HEAVY - {"sympy"} if "--family" in words else HEAVY)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell):
    shown = call("completion", shell).stdout
    assert f"_STL_SEARCH_COMPLETE={shell}_complete" in shown
    assert "stl-search" in shown


@pytest.mark.slow
def test_bash_completes_with_the_script(tmp_path):
    program = tmp_path / "stl-search"
    program.write_text(f"#!{sys.executable}\nfrom stl_search.cli import main\nmain()\n")
    program.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(call("completion", "bash").stdout)
    ask = f"source {script}; COMP_WORDS=(stl-search fi); COMP_CWORD=1; _stl_search_completion stl-search; "
    done = subprocess.run(
        ["bash", "-c", ask + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        capture_output=True, text=True, check=True,
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stdout.split() == ["find"]


@pytest.mark.slow
def test_a_pipe_gets_no_codes_and_no_bars(tmp_path):
    found = piped("find", "2", "--rank", "7", "--out", str(tmp_path), TERM="xterm-256color")
    assert not CODES.search(found.stdout + found.stderr)
    assert found.stderr == ""
    assert len(found.stdout.splitlines()) == 1
    assert not CODES.search(piped(*LISTING, TERM="xterm-256color").stdout)


@pytest.mark.slow
def test_a_terminal_gets_bold_heads_unless_it_says_no():
    assert "\x1b[1m" in on_a_terminal(*LISTING, TERM="xterm-256color")
    for no in ({"TERM": "xterm-256color", "NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert not CODES.search(on_a_terminal(*LISTING, **no))
    # A bar that cannot move the cursor would be written again and again.
    assert not CODES.search(on_a_terminal("tpp", "--census", "--order", "6", TERM="dumb"))


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 60])
@pytest.mark.parametrize(
    "arguments",
    [LISTING, ("groups", "--order", "12"), ("group", "S4"), ("frontier", "--exact")],
    ids=" ".join,
)
def test_a_narrow_screen_loses_no_figure(arguments, columns, monkeypatch):
    shown = {}
    for width in (300, columns):
        monkeypatch.setattr("stl_search.cli.terminal.out.width", width)
        # The grammar of names is text, which terminals wrap.
        shown[width] = call(*arguments).stdout.partition("Any finite group")[0]
    assert "…" not in shown[columns]
    assert set(NUMBERS.findall(shown[300])) <= set(NUMBERS.findall(shown[columns]))
    # Nor is a table wider than the screen, so that it would be broken anywhere.
    lines = [line for line in shown[columns].splitlines() if "  " in line.strip()]
    assert lines
    assert max(map(len, lines)) <= columns


@pytest.mark.slow
def test_columns_are_heard_in_a_pipe():
    wide, narrow = piped(*LISTING).stdout, piped(*LISTING, COLUMNS="40").stdout
    assert 60 < max(map(len, wide.splitlines())) <= 160
    assert max(map(len, narrow.splitlines())) <= 40
    assert set(NUMBERS.findall(wide)) <= set(NUMBERS.findall(narrow))


def drawn(shown, width):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return capture.get()


def test_tables_wrap_their_texts_first_and_become_lists_then():
    shown = table("Title", ("name", "figure", "words"), numbers=("figure",))
    shown.add_row("one", "123456789", "some words that take their time")
    words = "some words that take their time"
    assert drawn(shown, 80).splitlines()[2].split() == ["one", "123456789", *words.split()]
    wrapped = drawn(shown, 34)
    assert len(wrapped.splitlines()) > 3
    assert max(map(len, wrapped.splitlines())) <= 34
    as_list = drawn(shown, 20)
    assert as_list.startswith("Title\n")
    assert re.search(r"^name +one *$", as_list, flags=re.MULTILINE)
    for text in (wrapped, as_list):
        assert "123456789" in text
        assert " ".join(text.split()).count("take") == 1


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [" ".join(LISTING), f"{' '.join(LISTING)} --json", "--help", ""])
def test_a_reader_who_leaves_is_no_error(arguments):
    ours, theirs = os.pipe()
    os.close(ours)
    with subprocess.Popen(
        [*PROGRAM, *arguments.split()], stdout=theirs, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(theirs)
        _, said = process.communicate()
    assert said == ""
    assert process.returncode == 1
