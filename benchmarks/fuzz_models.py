"""Mutate stored models, with all hashes in order, and see that none ends or stops a process.

    python benchmarks/fuzz_models.py --plugin hgb --number 100000
    python benchmarks/fuzz_models.py --number 1000          # every plugin, and exported archives
    python benchmarks/fuzz_models.py --part portable --number 1000000

Each mutation is made from a number of its own (``--first`` says where to begin), in a process that
may fail: arrays get other values, places, shapes and types; texts and the list of parts get others;
bytes flip. ``--part`` says whether it is a model's estimator that is changed or its portable form.
What is accepted scores rows with gaps and extremes. Counted is what was refused, what scored, what
failed to score with an error, and what crashed or took more than 10 s, by its number. A portable
form must be refused in order or give probabilities: all else is counted as failed, by its number.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import selectors
import signal
import subprocess
import sys
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from waterflow_cli.common.errors import WaterflowError
from waterflow_cli.common.hashing import sha256_of
from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.estimator_files import EstimatorFile, save_estimator
from waterflow_cli.models.pipelines import strip_for_scoring
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.learners import build_pipeline, single_threaded_fits
from waterflow_cli.training.options import TrainingOptions

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from small_models import SMALL

COLUMNS = list(load_schema().measurements)
# So many that trees are compiled for them.
MANY_ROWS = 10_000_000
MOST_SECONDS, MOST_BYTES = 10, 4 << 30
Members = dict[str, bytes]
Trial = Callable[[], Callable[[int], str]]

ODD_INTS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 8, 9, 255, 256, 2**16, 2**31 - 1, 2**31)
ODD_INTS += (2**32 - 1, 2**62, 2**63 - 1)
ODD_FLOATS = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e308, -1e308, 5e-324, 1e39)
ODD_JSON = (None, True, False, "", "x", [], {}, -1, 0, 1, 2, 10**6, 2**31, 10**30, 0.5, 1e308)
ODD_JSON += (float("nan"), "rbf", "precomputed", "poly", "linear", "identity", "isotonic")
ODD_JSON += ([1, 2], {"a": 1})


# --- mutations -----------------------------------------------------------------------------------


def mutate_array(data: bytes, rng: random.Random) -> bytes:
    """Change a stored array: values, places, shape or type."""
    array = np.load(io.BytesIO(data), allow_pickle=False)
    flat = np.array(array, ndmin=1).copy()
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        target = flat[rng.choice(flat.dtype.names)] if flat.dtype.names else flat
        if target.size:
            mutate_value(target, rng)
    changed = mutate_shape(flat[0] if array.ndim == 0 else flat, rng)
    file = io.BytesIO()
    np.save(file, changed, allow_pickle=False)
    return file.getvalue()


def mutate_value(target: Any, rng: random.Random) -> None:
    """Give a place another place's value, a place in the array, or an odd value."""
    kind, place = target.dtype.kind, tuple(rng.randrange(n) for n in target.shape)
    way = rng.randrange(4)
    if way == 0:
        target[place] = target[tuple(rng.randrange(n) for n in target.shape)]
    elif way == 1 and kind in "iuf":
        target[place] = rng.randrange(max(2, len(target)))
    elif kind == "f":
        with np.errstate(over="ignore"):
            target[place] = rng.choice((*ODD_FLOATS, rng.gauss(0, 1000)))
    elif kind in "iu":
        limits = np.iinfo(target.dtype)
        target[place] = min(max(rng.choice(ODD_INTS), int(limits.min)), int(limits.max))


def mutate_shape(array: Any, rng: random.Random) -> Any:
    """Make an array shorter, longer, of other axes or of another type, now and then."""
    way = rng.randrange(12)
    if not np.ndim(array) or way > 4:
        return array
    if way == 4:
        kind = rng.choice(("f4", "i4", "i8", "u1", ">f8", "U5", "?", "c16"))
        return array if array.dtype.names else array.astype(kind)
    longer = np.concatenate([array, array])
    return (array[: rng.randrange(len(array) + 1)], longer, array[None], array.T)[way]


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, drop or repeat bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(changed)) if changed else 0
        way = rng.randrange(4)
        if way == 0 and changed:
            changed[place] ^= 1 << rng.randrange(8)
        elif way == 1 and changed:
            changed[place] = rng.choice((0, 255, 127, 128, rng.randrange(256)))
        elif way == 2:
            del changed[place : place + rng.choice((1, 4, 8))]
        else:
            changed[place:place] = changed[place : place + rng.choice((1, 4, 8, 64))]
    return bytes(changed)


def mutate_text(text: str, rng: random.Random) -> str:
    """Change a number or a word of a text."""
    words = text.split(" ")
    place = rng.randrange(len(words))
    odd = (*map(str, ODD_INTS), *map(str, ODD_FLOATS), "", "x", "1e999", "--1", "0x10", "1_0")
    words[place] = rng.choice((*odd, str(rng.randrange(12)), str(-rng.randrange(1, 12))))
    if rng.randrange(6) == 0:
        lines = text.split("\n")
        line = rng.randrange(len(lines))
        lines[line : line + 1] = rng.choice(([], [lines[line]] * 2, [rng.choice(lines)]))
        return "\n".join(lines)
    if rng.randrange(2):
        lines = text.split("\n")
        line = rng.randrange(len(lines))
        name, sign, value = lines[line].partition("=")
        parts = value.split(" ")
        parts[rng.randrange(len(parts))] = rng.choice((*odd, str(rng.randrange(-8, 12))))
        lines[line] = f"{name}{sign}{' '.join(parts)}"
        return "\n".join(lines)
    return " ".join(words)


def states_of(content: Any) -> Iterator[dict[str, Any]]:
    """Give the parts that a list of parts holds, at any depth."""
    if isinstance(content, dict):
        if "__loader__" in content:
            yield content
        for value in content.values():
            yield from states_of(value)
    elif isinstance(content, list):
        for value in content:
            yield from states_of(value)


def mutate_parts(data: bytes, rng: random.Random) -> bytes:
    """Change the list of parts: a literal, a reference, a type, a way of loading."""
    content = json.loads(data)
    states = list(states_of(content))
    one, other = rng.choice(states), rng.choice(states)
    literals = [each for each in states if each["__loader__"] == "JsonNode"]
    way = rng.randrange(8)
    if way <= 2 and literals:
        chosen = rng.choice(literals)
        old = json.loads(chosen["content"])
        new = (
            mutate_text(old, rng)
            if isinstance(old, str) and len(old) > 50
            else rng.choice(ODD_JSON)
        )
        chosen["content"] = json.dumps(new)
        chosen["__id__"] = rng.randrange(1, 2**48)
    elif way == 3:
        for name in ("__class__", "__module__"):
            one[name] = other[name]
    elif way == 4:
        one["__loader__"] = other["__loader__"]
    elif way == 5:
        copy = json.loads(json.dumps(other))
        one.clear()
        one.update(copy)
    elif way == 6 and isinstance(one.get("content"), (dict, list)) and one["content"]:
        inner = one["content"]
        del inner[rng.choice(list(inner)) if isinstance(inner, dict) else rng.randrange(len(inner))]
    elif "file" in one and "file" in other:
        one["file"], one["__id__"] = other["file"], rng.randrange(1, 2**48)
    else:
        one["__id__"] = other.get("__id__")
    return json.dumps(content).encode()


def mutate_file(members: Members, rng: random.Random) -> Members:
    """Change an estimator's file in one or two places."""
    changed = dict(members)
    arrays = [name for name in members if name.endswith(".npy")]
    blobs = [name for name in members if name.endswith(".bin")]
    for _ in range(rng.choice((1, 1, 1, 2))):
        way = rng.randrange(10)
        try:
            if blobs and way <= 6:
                name = rng.choice(blobs)
                changed[name] = mutate_bytes(changed[name], rng)
            elif way <= 6:
                name = rng.choice(arrays)
                changed[name] = mutate_array(changed[name], rng)
            elif way == 7:
                name = rng.choice(list(changed))
                changed[name] = mutate_bytes(changed[name], rng)
            else:
                changed["schema.json"] = mutate_parts(changed["schema.json"], rng)
        except Exception:  # noqa: BLE001
            continue  # a part that was changed before can be changed no more
    return changed


def pack(members: Members) -> bytes:
    """Put members into an archive as they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


# --- what is tried -------------------------------------------------------------------------------


def samples() -> pd.DataFrame:
    """Give rows as they come, with gaps, and with extremes."""
    values = np.random.default_rng(1).normal(size=(24, len(COLUMNS)))
    values[:6][values[:6] > 0.5] = np.nan
    values[6], values[7], values[8] = np.nan, 1e30, -1e30
    return pd.DataFrame(values, columns=COLUMNS)


def fit(name: str) -> bytes:
    """Train a small model, and give its file."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(80, len(COLUMNS))), columns=COLUMNS)
    y = (X["ph"] + rng.normal(size=len(X)) > 0).to_numpy().astype(np.int64)
    options = TrainingOptions(params=SMALL[name], balance="none")
    with warnings.catch_warnings(), single_threaded_fits():
        warnings.simplefilter("ignore")
        fitted = build_pipeline(load_plugin(name), COLUMNS, options).fit(X, y)
    return save_estimator(strip_for_scoring(fitted))


def try_estimator(data: bytes, trusted: Any, rows: pd.DataFrame) -> str:
    """Load an estimator as a model is loaded, and let it score."""
    try:
        stored = EstimatorFile(data)
        if stored.strangers(trusted):
            return "refused: types"
        estimator = stored.build(COLUMNS)
    except Exception as exc:  # noqa: BLE001
        return f"refused: {type(exc).__name__}"
    try:
        np.asarray(estimator.predict_proba(rows), dtype=np.float64)[:, 1]
    except Exception as exc:  # noqa: BLE001
        return f"failed to score: {type(exc).__name__}"
    return "scored"


def estimator_trial(name: str, data: bytes) -> Callable[[int], str]:
    """Give what one number of a plugin does."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    trusted, rows = load_plugin(name).model.trusted_types, samples()
    assert try_estimator(pack(members), trusted, rows) == "scored", name

    def trial(number: int) -> str:
        changed = mutate_file(members, random.Random(number))
        return try_estimator(pack(changed), trusted, rows)

    return trial


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Change one value of a JSON text."""
    content = json.loads(data)
    inner: Any = content
    while True:
        key = rng.choice(list(inner)) if isinstance(inner, dict) else rng.randrange(len(inner))
        if not isinstance(inner[key], (dict, list)) or not inner[key] or rng.randrange(5) == 0:
            break
        inner = inner[key]
    if rng.randrange(6) == 0:
        del inner[key]
    else:
        inner[key] = rng.choice(ODD_JSON)
    return json.dumps(content).encode()


def archive_trial(data: bytes, folder: Path) -> Callable[[int], str]:
    """Give what one number of the exported archives does."""
    from waterflow_cli.models.files import load_payload
    from waterflow_cli.models.manifest import read_verified
    from waterflow_cli.registry.archives import open_export
    from waterflow_cli.registry.rehearsal import check_rehearsed, reference_probabilities

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    path = folder / "model.zip"

    def trial(number: int) -> str:
        path.write_bytes(mutate_archive(members, random.Random(number)))
        return attempt()

    def attempt() -> str:
        try:
            with open_export(str(path)) as (unpacked, content):
                files = read_verified(unpacked / "model", label="m")
                model = load_payload(files, label="m")
                found = reference_probabilities(model, files)
                check_rehearsed("m", found, content.get("reference_probabilities"))
        except WaterflowError as exc:
            return f"refused: {type(exc).__name__}"
        return "scored"

    path.write_bytes(data)
    assert attempt() == "scored"
    return trial


def portable_trial(name: str, data: bytes) -> Callable[[int], str]:
    """Give what one number does of a plugin's portable form."""
    from waterflow_cli.models.estimator_scores import scores_of
    from waterflow_cli.models.portable.form import PortableForm, load_form, save_form
    from waterflow_cli.models.portable.tree_structure import UnsoundError

    form = scores_of(EstimatorFile(data).build(COLUMNS), COLUMNS)
    assert isinstance(form, PortableForm), name
    files, rows = save_form(form), samples().to_numpy()

    def attempt(changed: Members, *, is_compiled: bool = False) -> str:
        try:
            loaded = load_form(changed)
        except UnsoundError as exc:
            return f"refused: {exc.field}"
        except Exception as exc:  # noqa: BLE001
            return f"FAILED to load: {type(exc).__name__}"
        try:
            found = loaded(rows)
            if is_compiled:
                loaded.expect(MANY_ROWS)
                if not np.array_equal(loaded(rows), found, equal_nan=True):
                    return "FAILED: the compiled walk gives other probabilities"
        except Exception as exc:  # noqa: BLE001
            return f"FAILED to score: {type(exc).__name__}"
        gone = np.isnan(found)
        is_right = found.shape == (len(rows),) and ((found >= 0) & (found <= 1) | gone).all()
        return "scored" if is_right else "FAILED: no probabilities"

    def trial(number: int) -> str:
        changed = mutate_form(files, random.Random(number))
        return attempt(changed, is_compiled=number % 4 == 0)

    assert attempt(files, is_compiled=True) == "scored", name
    return trial


def mutate_form(files: Members, rng: random.Random) -> Members:
    """Change one or two files of a portable form; nothing keeps their hashes here."""
    changed, names = dict(files), [*files]
    for _ in range(rng.choice((1, 1, 1, 2))):
        name, way = rng.choice(names), rng.randrange(16)
        try:
            if way == 0:
                del changed[name]
            elif way == 1:
                changed[name] = changed[rng.choice(names)]
            elif way <= 4:
                changed[name] = mutate_bytes(changed[name], rng)
            elif name.endswith(".json"):
                changed[name] = mutate_json(changed[name], rng)
            else:
                changed[name] = mutate_array(changed[name], rng)
        except Exception:  # noqa: BLE001
            continue  # what was changed before can be changed no more
    return changed


def mutate_archive(members: Members, rng: random.Random) -> bytes:
    """Change a file of an export and make all hashes anew, or change the archive itself."""
    changed, inner = dict(members), "model/data/waterflow/"
    name = rng.choice([each for each in members if each.startswith("model/")])
    way = rng.randrange(10)
    if name.endswith(".skops") and way < 8:
        with zipfile.ZipFile(io.BytesIO(members[name])) as archive:
            parts = {each: archive.read(each) for each in archive.namelist()}
        changed[name] = pack(mutate_file(parts, rng))
    elif name.startswith(inner) and name.endswith(".json") and way < 8:
        changed[name] = mutate_json(members[name], rng)
    elif way < 9:
        changed[name] = mutate_bytes(members[name], rng)
    manifest = json.loads(members["model/waterflow-manifest.json"])
    for each in manifest["sha256"]:
        manifest["sha256"][each] = sha256_of(changed[f"model/{each}"])
    changed["model/waterflow-manifest.json"] = json.dumps(manifest).encode()
    listing = json.loads(members["export.json"])
    for each, described in listing["files"].items():
        described.update(sha256=sha256_of(changed[each]), bytes=len(changed[each]))
    listing["manifest_sha256"] = sha256_of(changed["model/waterflow-manifest.json"])
    changed["export.json"] = json.dumps(listing).encode()
    if rng.randrange(8) == 0:
        changed["export.json"] = mutate_json(changed["export.json"], rng)
    packed = pack(changed)
    return mutate_bytes(packed, rng) if way == 9 and rng.randrange(2) else packed


def export(folder: Path) -> bytes:
    """Train a model by the command, and export it."""
    for command in (["train", "--plugin", "logreg"], ["models", "export", "1", "-o", "m.zip"]):
        subprocess.run(
            [sys.executable, "-m", "waterflow_cli", *command],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    return (folder / "m.zip").read_bytes()


# --- processes that may fail ---------------------------------------------------------------------


def in_process(call: Callable[[], bytes]) -> bytes:
    """Call in a process of its own, so that libraries start no threads in this one."""
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            with os.fdopen(write, "wb") as pipe:
                pipe.write(call())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return data


def run(
    make: Callable[[], Callable[[int], str]], first: int, last: int, seconds: float
) -> Counter[str]:
    """Try the numbers from first to last, each in a process that is replaced when it fails."""
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while first < last and time.monotonic() < end:
        read, write = os.pipe()
        if not (child := os.fork()):
            os.close(read)
            work(make, first, min(last, first + 20_000), write, end)
        os.close(write)
        first += follow(child, read, first, counts)
    return counts


def work(make: Trial, first: int, last: int, write: int, end: float) -> None:
    """Try numbers, and tell of each; the process ends here."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    warnings.simplefilter("ignore")
    stderr = os.dup(2)
    try:
        with threadpool_limits(1):
            trial = make()
            os.write(write, b"READY\n")
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            for number in range(first, last):
                os.write(write, f"{trial(number)}\n".encode())
                if time.monotonic() > end:
                    break
        os._exit(0)
    except BaseException:  # noqa: BLE001
        os.dup2(stderr, 2)
        traceback.print_exc()
    finally:
        os._exit(1)


def follow(child: int, read: int, first: int, counts: Counter[str]) -> int:
    """Count what a process tells, until it ends or stops; give how many numbers are done."""
    done, text = 0, b""
    with selectors.DefaultSelector() as selector:
        selector.register(read, selectors.EVENT_READ)
        while selector.select(MOST_SECONDS + (50 if not done else 0)):
            if not (more := os.read(read, 1 << 16)):
                break
            *lines, text = (text + more).split(b"\n")
            for line in lines:
                counts[line.decode()] += 1
                done += 1
                if line.startswith(b"FAILED"):
                    print(f"  {line.decode()}: {first + done - 2}", flush=True)
        else:
            os.kill(child, signal.SIGKILL)
            counts["HUNG"] += 1
            print(f"  hung: {first + done - 1}", flush=True)
            done += 1
    os.close(read)
    _, status = os.waitpid(child, 0)
    if not counts.pop("READY", 0):
        raise SystemExit("the model as it was trained is refused")
    done -= 1
    if (os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL) or (
        os.WIFEXITED(status) and status
    ):
        counts["CRASHED"] += 1
        print(f"  crashed ({status}): {first + done}", flush=True)
        done += 1
    return done


def main() -> None:
    """Fuzz the plugins asked for, and print the counts of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--plugin", choices=[*SMALL, "archive"], action="append")
    parser.add_argument("--part", choices=["estimator", "portable"], default="estimator")
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="at most, for each plugin")
    asked = parser.parse_args()
    os.nice(10)
    with TemporaryDirectory(prefix="fuzz-") as scratch:
        is_form = asked.part == "portable"
        for name in asked.plugin or [*SMALL, *(() if is_form else ("archive",))]:
            folder = Path(scratch)
            is_archive = name == "archive"
            data = in_process(lambda: export(folder) if is_archive else fit(name))  # noqa: B023

            def make() -> Callable[[int], str]:
                if is_archive:  # noqa: B023
                    return archive_trial(data, folder)  # noqa: B023
                return (portable_trial if is_form else estimator_trial)(name, data)  # noqa: B023

            start = time.monotonic()
            counts = run(make, asked.first, asked.first + asked.number, asked.seconds)
            took = time.monotonic() - start
            bad = sum(n for outcome, n in counts.items() if outcome.isupper())
            failed = sum(n for outcome, n in counts.items() if outcome.startswith("FAILED"))
            print(
                f"{name}: {counts.total()} tried in {took:.0f} s, {bad} crashed or hung, "
                f"{failed} not refused and failed",
                flush=True,
            )
            for outcome, n in counts.most_common():
                print(f"  {n:8} {outcome}", flush=True)


if __name__ == "__main__":
    main()
