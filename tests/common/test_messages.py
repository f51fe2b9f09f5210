"""Every message goes through the one catalogue, and the catalogue holds nothing else."""

from __future__ import annotations

import ast
import copy
import gettext
import os
import pickle
import re
import string
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from babel.messages.catalog import Message
from catalogue import DOMAINS, extract_texts, french_texts, read_french
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, nodes
from paths import ROOT

from waterflow_cli.common import errors, messages
from waterflow_cli.common.messages import (
    WIDTH,
    Text,
    chosen_language,
    clipped,
    find_language,
    tr,
    trn,
    use_language,
)
from waterflow_cli.common.number_formats import Estimate
from waterflow_cli.common.pages import page_environment
from waterflow_cli.models.decision import Policy
from waterflow_cli.training.comparison import judge_difference
from waterflow_cli.validation.limits import BASES, PROFILES, load_limits

PACKAGE = ROOT / "waterflow_cli"
TEMPLATES = sorted((PACKAGE / "templates").glob("*.html"))
# Texts that are the same in every language, with the reason.
SAME_EVERYWHERE = {
    ("commands/compare.py", ">Brier"): "a name",
    ("commands/demo.py", "\n$ waterflow "): "a command, to be copied",
    ("commands/notes.py", "sha256"): "a name",
    ("exploration.html", "waterflow explore"): "a command",
}
ERRORS = {
    name
    for name, found in vars(errors).items()
    if isinstance(found, type) and issubclass(found, errors.WaterflowError)
}
# What translates, and how many texts each takes.
TRANSLATES = {"tr": 1, "trn": 2, "Message": 1, "counted": 2, "marked": 1, "marked_forms": 2}
# Where an error has its text, which it translates unless that is finished.
ERROR_TEXTS = {**dict.fromkeys(ERRORS, 0), "InputError": 1, "RequestError": 1}
# Methods of the console, which translate a text that has values.
SAYS = {"result", "note", "detail", "warn"}
# What the core calls to say something, besides the methods of the console.
REPORTERS = {"report", "warn"}
# From which argument on a user reads what is found.
FINDINGS = {"Finding": 5, "Rule": 3}
SECTIONS = {"Absent", "Headline"}
BUNDLED = [limit for profile in load_limits(PROFILES) for limit in profile.limits]


# Counts that are never one: what cross-validation and permutations are made of, rows that hold both
# classes or were drawn from many.
SEVERAL = {
    *("n_folds", "n_fits", "n_permutations", "n_spans", "n_letters", "n_hashes"),
    *("n_trained", "n_tested", "n_labelled", "n_judging", "n_known", "n_kept"),
    *("n_drawn", "n_available", "n_compared", "n_ranked", "n_negatives", "n_positives"),
}


@dataclass(frozen=True)
class Said:
    """A text in the code, in each of its forms, and where it stands."""

    module: str
    line: int
    texts: tuple[str, ...]
    names: frozenset[str] | None = None

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.texts}"


def name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield module, node


def is_of_console(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and "console" in ast.unparse(call.func.value)


def own_text(call: ast.Call) -> list[ast.expr]:
    """Give the text that an error or the console itself translates; none of any other call."""
    name = name_of(call.func)
    if name in SAYS and is_of_console(call) and call.keywords:
        return call.args[:1]
    place = ERROR_TEXTS.get(name, len(call.args))
    return call.args[place : place + 1]


def translated_texts() -> Iterator[Said]:
    """Give what errors, the console and `tr` are called with; `marked` without names."""
    for module, call in calls():
        name = name_of(call.func)
        for text in own_text(call):
            if isinstance(text, ast.Constant):
                apart = {"InputError": {"hint", "line"}, "RequestError": {"hint", "headers"}}
                keywords = frozenset(str(each.arg) for each in call.keywords)
                keywords -= apart.get(name, {"hint"})
                yield Said(module, call.lineno, (str(text.value),), keywords)
        texts = tuple(str(each.value) for each in call.args if isinstance(each, ast.Constant))
        if name in TRANSLATES and texts:
            keywords = frozenset(str(each.arg) for each in call.keywords)
            names = None if name.startswith("marked") else keywords
            yield Said(module, call.lineno, texts[: TRANSLATES[name]], names)
    for path in TEMPLATES:
        for called in template_of(path).find_all(nodes.Call):
            name = getattr(called.node, "name", "")
            if name in TRANSLATES:
                # A variable could be someone's text, and `tr` in a template escapes none.
                texts = called.args[: TRANSLATES[name]]
                for each in texts:
                    assert isinstance(each, nodes.Const), f"{path.name}:{called.lineno}"
                names = frozenset(each.key for each in called.kwargs)
                said = tuple(each.value for each in texts)
                yield Said(path.name, called.lineno, said, names)


def template_of(path: Path) -> nodes.Template:
    return Environment().parse(path.read_text("utf-8"))


def bare_in_templates() -> Iterator[Said]:
    """Give the texts of templates that do not go through the catalogue."""
    for path in TEMPLATES:
        page = re.sub(r"(?s)<style>.*?</style>", "", path.read_text("utf-8"))
        shown = re.sub(r"(?s)\{%.*?%\}|\{\{.*?\}\}", "", page)
        for text in re.split(r"(?s)<.*?>", shown):
            if re.search("[A-Za-z]", text):
                yield Said(path.name, 0, (text.strip(),))


def bare_texts(node: ast.expr) -> Iterator[str]:
    """Give the texts in an expression that do not go through the catalogue."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(part.value for part in parts if isinstance(part, ast.Constant))
        case ast.BinOp() | ast.IfExp() | ast.Tuple() | ast.List():
            for inner in ast.iter_child_nodes(node):
                if isinstance(inner, ast.expr):
                    yield from bare_texts(inner)


def shown_parts(call: ast.Call) -> list[ast.expr]:
    """Give the arguments of a call that a user reads; none of most calls."""
    name = name_of(call.func)
    if name in ERROR_TEXTS:
        # A text alone is looked up; one that is put together must be finished.
        own = [each for each in own_text(call) if not isinstance(each, ast.Constant)]
        hints = [each.value for each in call.keywords if each.arg == "hint"]
        return [*own, *call.args[ERROR_TEXTS[name] + 1 :], *hints]
    if is_of_console(call):
        shown = {"table": 2, "listing": 3, "error": 2, "progress": 1}
        if name in SAYS:
            # As with errors; but without values, a text must be finished.
            return [] if call.keywords and isinstance(call.args[0], ast.Constant) else call.args
        return call.args[: shown.get(name, 0)]
    if isinstance(call.func, ast.Name) and name in REPORTERS:
        return call.args[:1]
    if name in FINDINGS:
        return call.args[FINDINGS[name] :]
    if name in SECTIONS:
        return call.args
    return []


def untranslated() -> Iterator[Said]:
    for module, call in calls():
        for part in shown_parts(call):
            for text in bare_texts(part):
                is_code = name_of(call.func) in FINDINGS and " " not in text
                if re.search("[A-Za-z]", text) and not is_code:
                    yield Said(module, call.lineno, (text,))


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.fixture
def french(workdir, monkeypatch):
    """The environment of a French user; the working folder's fixture speaks English again."""
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")


def forms(message: Message) -> tuple[str, ...]:
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


def test_catalogue_holds_the_texts_in_the_code_and_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    extracted = sorted(map(forms, extract_texts(tmp_path)))
    assert sorted(map(forms, read_french())) == extracted
    # Babel finds none inside an f-string.
    assert {said.texts for said in translated_texts()} == {each for each in extracted if any(each)}


def test_each_text_of_click_is_in_the_catalogue(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # away from what is set up for our own texts
    extracted = extract_texts(tmp_path, str(Path(click.__file__).parent))
    assert sorted(map(forms, read_french("click"))) == sorted(map(forms, extracted))


@pytest.mark.parametrize("domain", DOMAINS)
def test_each_text_has_a_french_one_with_the_same_values(domain):
    catalogue = read_french(domain)
    assert [each.id for each in catalogue if each.fuzzy] == []
    assert list(catalogue.obsolete) == []
    assert catalogue.num_plurals == 2
    for english, text in french_texts(domain):
        assert text, f"{english!r} has no French text"
        assert placeholders(text) == placeholders(english), english


def test_each_placeholder_is_given_a_value():
    for said in translated_texts():
        if said.names or (said.names is not None and len(said.texts) > 1):
            given = said.names | ({"n"} if len(said.texts) > 1 else set())
            assert set().union(*map(placeholders, said.texts)) == given, str(said)


def test_what_is_counted_has_a_singular():
    # Up to two words may stand between; "3 of the rows" counts no plural noun, and the French
    # "fois" is its own.
    counted = re.compile(
        r"\{(n|n_\w+)(?::[^}]*)?\} (?:(?!of |des? |sur )[^\W\d]+ ){0,2}(?!des |sous |fois )\w+s\b"
    )
    for message in read_french():
        for text in (message.id, message.string) if isinstance(message.id, str) else ():
            assert {each[1] for each in counted.finditer(text)} <= SEVERAL, text


def test_no_text_is_put_together_before_it_is_looked_up():
    for module, call in calls():
        for text in call.args[: TRANSLATES.get(name_of(call.func), 0)]:
            assert not isinstance(text, (ast.JoinedStr, ast.BinOp, ast.IfExp)), (
                f"{module}:{call.lineno}"
            )


def test_no_message_goes_past_the_catalogue():
    found = [*untranslated(), *bare_in_templates()]
    assert [str(each) for each in found if (each.module, *each.texts) not in SAME_EVERYWHERE] == []
    assert set(SAME_EVERYWHERE) <= {(each.module, *each.texts) for each in found}


def test_bundled_limits_say_in_french_what_they_are_values_of(french):
    assert {limit.basis for limit in BUNDLED} <= set(BASES)
    use_language("fr")
    assert {tr(limit.basis) for limit in BUNDLED}.isdisjoint(BASES)
    assert {tr(limit.purpose) for limit in BUNDLED} == {"santé", "exploitation", "esthétique"}


def test_template_escapes_the_values_and_keeps_the_tags():
    page = page_environment().from_string("{{ tr('the model <em>{plugin}</em>', plugin=name) }}")
    assert page.render(name="<b>") == "the model <em>&lt;b&gt;</em>"


@pytest.mark.parametrize("domain", DOMAINS)
def test_french_is_set_as_french_is(domain):
    for _, text in french_texts(domain):
        assert not re.search(r" [:;?!%»]|«[^\xa0]|[^\xa0]»", text), text


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({}, "en"),
        ({"LANG": ""}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "fr"}, "fr"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr_BE@euro"}, "fr"),
        ({"LANG": "frp_IT"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "fr_FR", "LANG": "en_GB"}, "fr"),
        ({"LC_ALL": "C", "LC_MESSAGES": "fr_FR", "LANG": "fr_FR"}, "en"),
        ({"LC_ALL": "fr_FR.UTF-8", "LANG": "en_GB"}, "fr"),
        ({"LC_CTYPE": "fr_FR.UTF-8"}, "en"),
    ],
)
def test_environment_chooses_the_language(environ, code):
    assert find_language(environ) == code


def test_unknown_language_is_refused():
    with pytest.raises(ValueError, match="no messages in 'tlh'"):
        use_language("tlh")
    assert chosen_language() == "en"


def test_text_without_values_keeps_its_braces(french):
    use_language("fr")
    assert tr("a text that no catalogue has: {label}") == "a text that no catalogue has: {label}"


def test_names_that_are_stored_stay_english(french):
    use_language("fr")
    verdict = judge_difference(Estimate(-0.04, -0.06, -0.02))
    assert (verdict, tr(verdict)) == ("worse", "moins bon")


def test_what_the_core_says_is_english_until_it_is_shown(french):
    reason = Policy(potable_from=0.8, not_potable_to=0.2).reasons[1]
    use_language("fr")
    for each in (reason, pickle.loads(pickle.dumps(reason)), copy.deepcopy(reason)):
        assert (each, messages.say(each)) == (
            "probability at most 0.2",
            "probabilité d'au plus 0.2",
        )
    listed = messages.joined([messages.Message("once"), "{b}"])
    assert (listed, messages.say(listed)) == ("once, {b}", "une fois, {b}")
    assert tr("{name}: {listed}", name="a", listed=listed) == "a: une fois, {b}"
    assert messages.say("once") == "once"


def test_error_is_said_in_french(cli, french):
    outcome = cli("validate", "no_such.csv")
    assert outcome.code == 3
    assert outcome.err == (
        "Erreur\xa0: no_such.csv\xa0: ce fichier n'existe pas.\nVérifiez le nom et le dossier.\n"
    )


def test_finding_is_said_in_french_and_its_rule_stays(cli, french, samples):
    header, row = samples.read_text("utf-8").splitlines()[:2]
    cells = dict(zip(header.split(","), row.split(","), strict=True)) | {"ph": "-1"}
    Path("bad.csv").write_text(f"{header}\n{','.join(cells.values())}\n", "utf-8")
    outcome = cli("validate", "bad.csv", "--format", "csv")
    assert outcome.code == 1, outcome.err
    assert "-1 est au-dessous de 0." in outcome.out
    assert "below_minimum" in outcome.out


@pytest.mark.slow
def test_pages_are_french_throughout(cli, french, samples):
    header, *rows = samples.read_text("utf-8").splitlines()[:61]
    Path("few.csv").write_text("\n".join([header, *rows, "1"]), "utf-8")
    pages = [
        cli("explore", "few.csv", "-o", "-").out,
        cli("validate", "few.csv", "--format", "html", "--limits", "epa").out,
    ]
    english = [text for text, other in french_texts() if text != other]
    whole = {text for text in english if "{" not in text and " " in text}
    for page in pages:
        assert '<html lang="fr">' in page
        assert [text for text in whole if f">{text}" in page or f"{text}<" in page] == []


def test_limits_column_stays_english(cli, french, samples):
    cli("validate", samples, "--limits", "epa", "--good", "good.csv")
    assert "Solids above 500 mg/L (epa)" in Path("good.csv").read_text("utf-8")


def test_summary_is_said_in_french(cli, french):
    outcome = cli("simulate", "--rows", 5, "-o", "out.csv")
    assert outcome.err.startswith("5 échantillons simulés écrits dans out.csv (graine 0).")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--lang", "en", "validate", "no_such.csv"),
        ("validate", "no_such.csv", "--lang", "en"),
        ("--lang", "fr", "validate", "no_such.csv", "--lang", "en"),
    ],
)
@pytest.mark.parametrize("setting", ["", 'lang = "fr"'])
def test_option_goes_before_environment_and_settings(cli, french, arguments, setting):
    Path("waterflow.toml").write_text(setting)
    assert cli(*arguments).err.startswith("Error: no_such.csv: no such file.")


@pytest.mark.parametrize("arguments", [(), ("--lang", "fr")])
def test_settings_choose_the_language(cli, arguments):
    if not arguments:
        Path("waterflow.toml").write_text('lang = "fr"\n')
    assert cli("validate", "no_such.csv", *arguments).err.startswith("Erreur\xa0: no_such.csv")


def test_variable_of_waterflow_goes_before_the_locale(cli, french, monkeypatch):
    monkeypatch.setenv("WATERFLOW_LANG", "en")
    assert cli("validate", "no_such.csv").err.startswith("Error: no_such.csv")


def test_next_command_speaks_as_its_own_environment_asks(cli, monkeypatch):
    assert cli("validate", "no_such.csv", "--lang", "fr").err.startswith("Erreur")
    assert cli("validate", "no_such.csv").err.startswith("Error")


def test_what_is_installed_holds_the_compiled_texts(tmp_path):
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True)
    built = tmp_path / "waterflow_cli/common/locale"
    french = gettext.translation("waterflow", built, ["fr"])
    assert french.gettext("missing values") == "valeurs manquantes"


@pytest.mark.parametrize(
    ("code", "n", "said"),
    [
        ("en", 0, "0 rows do not pass."),
        ("en", 1, "1 row does not pass."),
        ("en", 2, "2 rows do not pass."),
        ("fr", 0, "0 ligne non conforme."),
        ("fr", 1, "1 ligne non conforme."),
        ("fr", 2, "2 lignes non conformes."),
    ],
)
def test_each_language_has_its_plurals(french, code, n, said):
    use_language(code)
    assert trn("{n} row does not pass.", "{n} rows do not pass.", n) == said
    page = page_environment().from_string(
        "{{ trn('{n} row does not pass.', '{n} rows do not pass.', n) }}"
    )
    assert page.render(n=n) == said


def spoken(*arguments, **variables):
    """Run the program by itself, in an environment of its own."""
    environ = {name: text for name, text in os.environ.items() if name != "LANGUAGE"} | variables
    command = [sys.executable, "-m", "waterflow_cli", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, encoding="utf-8", check=False)


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--help"], {"LC_ALL": "fr_FR.UTF-8"}),
        (["--help"], {"WATERFLOW_LANG": "fr"}),
        (["--lang", "fr", "--help"], {}),
        (["score", "--help"], {"LC_ALL": "fr_FR.UTF-8"}),
        (["score", "--lang", "fr", "--help"], {}),
    ],
)
def test_help_is_set_in_french(workdir, arguments, variables):
    said = spoken(*arguments, **variables).stdout
    assert said.startswith("Usage\xa0: waterflow")
    assert "\nOptions\xa0:\n" in said
    assert re.search(r"-h, --help +Montrer cette aide, puis finir\.\n", said)
    assert "Show" not in said.replace("Show tracebacks.", "")
    if "score" in arguments:
        assert re.search(r"\[par\s+défaut\xa0:\s", said)
    else:
        assert "\nCommandes\xa0:\n" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "--nope"], "Pas d'option '--nope'."),
        (["score"], "Il manque l'argument 'FILE...'."),
        (
            ["score", "--max-invalid", "many", "a", "-o", "b"],
            "Valeur non valable pour '--max-invalid'\xa0: 'many' n'est pas",
        ),
    ],
)
def test_errors_of_click_are_french(workdir, arguments, message):
    done = spoken("--lang", "fr", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Erreur\xa0: {message}"), done.stderr


def test_help_is_in_the_language_of_the_moment(cli, french):
    assert "Montrer cette aide, puis finir." in cli("score", "--help").out
    said = cli("score", "--lang", "en", "--help").out
    assert said.startswith("Usage: waterflow score")
    assert "Show this message and exit." in said


# Long ones, and those that need an escape: controls, marks that turn the order, lone surrogates.
ANY_TEXT = st.text() | st.builds("".join, st.lists(st.text(min_size=1), min_size=50))


@given(ANY_TEXT, st.integers(40, 300))
def test_clipped_text_is_one_printable_line_of_a_bounded_width(text, width):
    shown = clipped(text, width)
    assert shown.isprintable()
    assert len(shown.encode()) <= width
    assert clipped(shown, width) == shown
    if text.isprintable() and len(text.encode()) <= width:
        assert shown == text
    elif len(text) > width:
        assert f"…[{len(text)}]…" in shown


@pytest.mark.parametrize(
    "value", ["x" * 27_000, "\u202e" * 500, Path("y" * 5_000), OSError("z" * 999)]
)
def test_whatever_a_message_names_is_clipped_once(value, french):
    for code in ("en", "fr"):
        use_language(code)
        error = errors.InputError(
            "f.csv", "{cause} is odd, and {again!r} too.", cause=value, again=1
        )
        said = tr("{cause}: {again}", cause=error, again=error.said)
        assert error.message.endswith(" is odd, and 1 too.")
        assert "…[" in error.message
        assert said == f"{error.message}: {error.message}"
        assert len(said.encode()) < 2 * (WIDTH + 60)


def test_clipped_text_is_quoted_with_no_second_escape():
    assert tr("{text!r}", text="a\nb") == r"'a\nb'"
    assert tr("{text!r}", text="it's") == '"it\'s"'
    assert isinstance(str(errors.UsageError("no")), Text)


def test_names_in_a_list_are_clipped_and_counted():
    listed = errors.shorten([f"{n}{'x' * 500}" for n in range(5_000)])
    assert listed.startswith("0xxx")
    assert listed.endswith("5000 in all")
    assert len(listed.encode()) < 800
    assert errors.shorten(["z" * 190]) == "z" * 190
