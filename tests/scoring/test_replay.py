"""A past output, scored again: what flipped, and what only seems to."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import Cli

from waterflow_cli.main import main
from waterflow_cli.scoring.flips import Comparison, FlipCounts, merge_worst
from waterflow_cli.scoring.past_results import STATES, Judged, PastResults
from waterflow_cli.scoring.scorer import RESULT_COLUMNS

MESSY = """site;ph;Hardness;Solids;Chloramines;Sulfate;Conductivity;Organic_carbon;\
Trihalomethanes;Turbidity
;pH;mg/L;g/L;mg/L;mg/L;µS/cm;mg/L;µg/L;NTU
A;7,1;200,5;20,1;7,0;330,2;400,1;14,2;66,1;3,9
B;6,1;201,5;21,1;<0,5;;401,1;14,2;66,1;3,9
C;x;201,5;21,1;7,1;331;401,1;14,2;66,1;3,9
D;6,1;201,5;21,1
E;6,1;201,5;21,1;7,1;331;401,1;14,2;66,1;3,9;99
F;;;;;;;;;
"""


Options = tuple[str, ...]


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Options:
    """Options that name a model which learned something else than that of `store_uri`."""
    folder = tmp_path_factory.mktemp("second")
    half = folder / "half.csv"
    half.write_text("".join(samples.read_text("utf-8").splitlines(keepends=True)[:250]), "utf-8")
    where = ("--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}", "--name", "second")
    learning = ("--plugin", "hgb", "--cv", "3x1", "--threshold", "0.3")
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(half), "-q", *learning, *where])
    assert stopped.value.code == 0
    return (*where, "--model", "@champion")


@pytest.fixture
def past(cli: Cli, samples: Path, store_uri: str) -> Path:
    """What a first model said of the samples."""
    out = Path("out.csv")
    assert cli("score", samples, "-o", out, "--tracking-uri", store_uri).code == 0
    return out


def rows_of(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(path).read_text("utf-8").splitlines()))


def judged(states: list[int], probability: list[float], prediction: list[int]) -> Judged:
    return Judged(
        np.array(states),
        np.array(probability),
        np.array(prediction),
        pa.array(["a/1"] * len(states)),
    )


@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz", ".parquet"])
def test_the_same_model_flips_nothing(cli: Cli, samples: Path, store_uri: str, suffix: str) -> None:
    out = f"out{suffix}"
    assert cli("score", samples, "-o", out, "--tracking-uri", store_uri).code == 0
    done = cli(
        "replay", out, "--model", "1", "--tracking-uri", store_uri, "--json", "-o", "flips.csv"
    )
    assert done.code == 0
    content = json.loads(done.out)
    assert (content["flips"], content["probabilities"]["changed"]) == (0, 0)
    assert content["rows"] == content["probabilities"]["compared"] == 400
    assert content["old_models"] == {"waterflow/1": 400}
    assert content["changed_by_same_model"] == 0
    assert Path("flips.csv").read_text("utf-8").count("\n") == 1  # its header


@pytest.mark.slow
def test_probabilities_are_those_of_score_to_the_last_digit(
    cli: Cli, samples: Path, past: Path, second: Options
) -> None:
    """What replay says of the challenger is, as text, what score writes with it."""
    assert cli("score", samples, "-o", "new.csv", *second).code == 0
    assert cli("replay", past, "-o", "flips.csv", *second).code == 0
    old, new, flips = map(rows_of, ("out.csv", "new.csv", "flips.csv"))
    expected = [
        (before["sample_id"], before["probability"], after["probability"], after["reason"])
        for before, after in zip(old, new, strict=True)
        if (before["verdict"], before["prediction"]) != (after["verdict"], after["prediction"])
    ]
    written = [
        (row["sample_id"], row["probability"], row["replay_probability"], row["replay_reason"])
        for row in flips
    ]
    assert written == expected
    assert 20 < len(expected) < 400


@pytest.mark.slow
def test_neither_jobs_nor_batches_change_the_result(cli: Cli, past: Path, second: Options) -> None:
    seen = set()
    for number, options in enumerate(((), ("--jobs", 2, "--batch-rows", 7))):
        flips = f"flips{number}.csv"
        done = cli("replay", past, "--json", "-o", flips, *options, *second)
        content = json.loads(done.out) | {"output": ""}
        for name in ("mean_change", "largest_change"):
            content["probabilities"][name] = round(content["probabilities"][name], 12)
        seen.add((json.dumps(content), Path(flips).read_bytes()))
    assert len(seen) == 1


def test_the_text_counts_first_and_then_lists_the_flips(
    cli: Cli, past: Path, second: Options
) -> None:
    done = cli("replay", past, "--max-flips", 3, *second)
    assert done.code == 0
    assert done.out.startswith("out.csv: judged by waterflow/1, and again by second/1")
    counts, listed = done.out.split("The 3 most dangerous of")
    assert "from likely_not_potable to likely_potable." in counts
    assert "sample_id" in listed
    assert "sample_id" not in counts
    assert len([line for line in listed.splitlines() if " S0" in line]) == 3
    assert not cli("replay", past, "--max-flips", 0, *second).out.count("most dangerous")


def test_json_lists_the_most_dangerous_first(cli: Cli, past: Path, second: Options) -> None:
    done = cli("replay", past, "--json", *second, "--max-flips", 1000)
    content = json.loads(done.out)
    flips = content["first_flips"]
    assert len(flips) == content["flips"]
    assert [flip["line"] for flip in flips] != sorted(flip["line"] for flip in flips)
    assert set(flips[0]["ids"]) == {"sample_id", "site", "date"}
    states = [flip["new"]["verdict"] == "likely_potable" for flip in flips]
    assert states == sorted(states, reverse=True)
    assert sum(map(sum, (row.values() for row in content["verdicts"].values()))) == 400


def test_danger_ranks_unsafe_water_that_is_called_potable_first() -> None:
    invalid, bad, lab, good = range(4)
    assert STATES[good] == "likely_potable"
    pairs = [(bad, good), (lab, good), (lab, lab), (bad, lab), (good, bad), (lab, invalid)]
    old = judged([a for a, _ in pairs], [0.1, 0.4, 0.4, 0.1, 0.9, 0.4], [0, 0, 0, 0, 1, 0])
    new = judged([b for _, b in pairs], [0.9, 0.9, 0.6, 0.4, 0.1, np.nan], [1, 1, 1, 0, 0, -1])
    compared = Comparison(old, new, np.zeros(6, dtype=bool))
    lines = np.arange(7, 1, -1)  # the reverse of the order that is expected
    worst = compared.worst(10, lines, {})
    assert [flip.kind for flip in worst] == [
        "likely_not_potable to likely_potable",
        "send_to_lab to likely_potable",
        "prediction 0 to 1",
        "likely_not_potable to send_to_lab",
        "likely_potable to likely_not_potable",
        "send_to_lab to invalid",
    ]
    assert merge_worst(worst[3:], worst[:3], 4) == worst[:4]
    counts = FlipCounts()
    counts.add(compared)
    assert (counts.n_up, counts.n_down, counts.n_flips) == (3, 1, 6)
    content = counts.content()
    assert (content["verdicts_changed"], content["became_invalid"]) == (4, 1)
    assert counts.mean_change == pytest.approx((0.8 + 0.5 + 0.2 + 0.3 + 0.8) / 5)
    assert FlipCounts().mean_change == 0


@pytest.mark.parametrize("language", ["en", "fr"])
def test_what_was_wrong_with_a_row_and_is_not_in_its_cells_stays_wrong(
    cli: Cli, store_uri: str, language: str
) -> None:
    """A row with too many fields comes out with its first ones, which would pass."""
    Path("messy.csv").write_text(MESSY, "utf-8")
    where = ("--tracking-uri", store_uri)
    assert cli("score", "messy.csv", "-o", "out.csv", "--lang", language, *where).code == 0
    done = cli("replay", "out.csv", "--unit", "Solids=g/L", "--model", "1", "--json", *where)
    content = json.loads(done.out)
    assert (content["flips"], content["probabilities"]["changed"]) == (0, 0)
    assert (content["verdicts"]["invalid"]["invalid"], content["not_replayed"]) == (4, 2)
    assert content["rules_known"] is True
    assert "2 rows stay invalid" in done.err


def as_0_1_0_wrote(path: str, prefix: str = "") -> str:
    """The output without its column of rules, and without the prefix."""
    rows = list(csv.reader(Path(path).read_text("utf-8").splitlines()))
    place = rows[0].index(f"{prefix}rule")
    rows[0] = [name.removeprefix(prefix) for name in rows[0]]
    with Path("old.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(row[:place] + row[place + 1 :] for row in rows)
    return "old.csv"


def test_without_rules_it_is_not_known_what_was_wrong_with_sound_cells(
    cli: Cli, store_uri: str
) -> None:
    Path("messy.csv").write_text(MESSY, "utf-8")
    where = ("--tracking-uri", store_uri)
    assert cli("score", "messy.csv", "-o", "new.csv", *where).code == 0
    old = as_0_1_0_wrote("new.csv")
    done = cli("replay", old, "--unit", "Solids=g/L", "--model", "1", "--json", *where)
    content = json.loads(done.out)
    assert (content["rules_known"], content["flips"]) == (False, 0)
    assert (content["verdicts"]["invalid"]["invalid"], content["not_replayed"]) == (4, 2)
    assert "2 rows were invalid, and their cells are sound." in done.err
    assert "is not known" in done.err


def test_a_column_rule_of_the_samples_own_is_none_of_the_results(
    cli: Cli, samples: Path, store_uri: str
) -> None:
    header, *lines = samples.read_text("utf-8").splitlines()
    Path("own.csv").write_text("\n".join([f"rule,{header}", *(f"7a,{x}" for x in lines)]), "utf-8")
    where = ("--tracking-uri", store_uri)
    assert cli("score", "own.csv", "-o", "new.csv", "--prefix", "x_", *where).code == 0
    old = as_0_1_0_wrote("new.csv", "x_")
    done = cli("replay", old, "--model", "1", "--json", *where)
    content = json.loads(done.out)
    assert (content["rules_known"], content["flips"]) == (False, 0)


def test_a_column_rule_in_front_of_the_results_stays_with_the_sample() -> None:
    results = [name for name in RESULT_COLUMNS if name != "rule"]
    assert "rule" not in PastResults("old.csv", ["rule", "ph", *results]).all_names
    assert "rule" in PastResults("new.csv", ["ph", *RESULT_COLUMNS]).all_names


def test_without_rules_the_scored_rows_are_replayed_as_ever(
    cli: Cli, past: Path, second: Options
) -> None:
    paths = (past, as_0_1_0_wrote(str(past)))
    new, old = (json.loads(cli("replay", path, *second, "--json").out) for path in paths)
    assert new["flips"] > 0
    assert {**old, "path": "", "rules_known": True} == {**new, "path": ""}


def test_a_file_that_is_read_otherwise_is_told_from_a_model_that_judges_otherwise(
    cli: Cli, store_uri: str
) -> None:
    Path("messy.csv").write_text(MESSY, "utf-8")
    where = ("--tracking-uri", store_uri)
    assert cli("score", "messy.csv", "-o", "out.csv", *where).code == 0
    done = cli("replay", "out.csv", "--model", "1", *where)
    assert (done.code, "changed though" in done.err) == (0, False)
    done = cli("replay", "out.csv", "--model", "1", "--unit", "Solids=mg/L", *where)
    assert done.code == 0
    assert "changed though waterflow/1 judged them before too" in done.err
    assert "--unit" in done.err


def test_a_prefix_is_found_and_of_two_one_must_be_chosen(
    cli: Cli, past: Path, second: Options
) -> None:
    assert cli("score", past, "-o", "both.csv", "--prefix", "b_", *second).code == 0
    refused = cli("replay", "both.csv", *second)
    assert refused.code == 2
    assert "prefixes '', 'b_'" in refused.err
    content = json.loads(cli("replay", "both.csv", "--prefix", "b_", "--json", *second).out)
    assert (content["flips"], content["old_models"]) == (0, {"second/1": 400})
    content = json.loads(cli("replay", "both.csv", "--prefix", "", "--json", *second).out)
    assert content["old_models"] == {"waterflow/1": 400}
    assert set(content["first_flips"][0]["ids"]) == {"sample_id", "site", "date"}
    assert cli("replay", "both.csv", "--prefix", "c_", *second).code == 3


def test_measurements_that_score_left_out_are_missed(
    cli: Cli, samples: Path, store_uri: str
) -> None:
    where = ("--tracking-uri", store_uri, "--model", "1")
    assert cli("score", samples, "-o", "ids.csv", "--columns", "ids", *where).code == 0
    done = cli("replay", "ids.csv", *where)
    assert done.code == 3
    assert "--columns" in done.err


@pytest.mark.parametrize(
    ("before", "after", "column"),
    [
        (",scored,", ",SCORED,", "status"),
        (",scored,0.", ",scored,0;", "probability"),
        (",scored,0.", ",scored,17.", "probability"),
        ("_to_lab,,prob", "_to_bar,,prob", "verdict"),
        (",0,send_to", ",5,send_to", "prediction"),
    ],
)
def test_cells_that_score_never_writes_are_named(
    cli: Cli, past: Path, second: Options, before: str, after: str, column: str
) -> None:
    lines = past.read_text("utf-8").splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if number > 5 and before in line)
    lines[place] = lines[place].replace(before, after)
    past.write_text("".join(lines), "utf-8")
    done = cli("replay", past, *second)
    assert done.code == 3
    assert f"out.csv, line {place + 1}: column {column}: " in done.err


def test_wrong_uses_are_refused(cli: Cli, samples: Path, past: Path, second: Options) -> None:
    plain = cli("replay", samples, *second)
    assert (plain.code, "it lacks status, probability" in plain.err) == (3, True)
    assert cli("replay", past, *second, "--model", "@nobody").code == 4
    assert cli("replay", past, "-o", "-", *second).code == 2
    assert cli("replay", past, "-o", past, "--force", *second).code == 2
    assert cli("replay", past, "-o", "flips.csv", *second).code == 0
    assert cli("replay", past, "-o", "flips.csv", *second).code == 2
    again = cli("replay", "flips.csv", "--prefix", "", "-o", "more.csv", *second)
    assert (again.code, "'replay_line'" in again.err) == (2, True)
    assert not Path("more.csv").exists()


def test_a_model_folder_can_replay(cli: Cli, past: Path, store_uri: str) -> None:
    folder = next(Path(store_uri.removeprefix("sqlite:///")).parent.glob("mlartifacts/models/*/*"))
    done = cli("replay", past, "--model", folder, "-q")
    assert done.code == 0
    assert "again by sha256:" in done.out
