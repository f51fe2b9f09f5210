"""Which way imports run between the folders: down, and never in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

from paths import ROOT

PACKAGE = ROOT / "waterflow_cli"
# Each room and the rooms that it may import; what those may import, it may too.
FLOORS = {
    "common": (),
    "tables": ("common",),
    "samples": ("tables",),
    "validation": ("samples",),
    "models": ("samples", "models/portable"),
    "models/portable": ("common",),
    "scoring": ("models", "validation"),
    "pyfunc": ("scoring",),
    "registry": ("models", "pyfunc"),
    "training": ("models", "validation"),
    "training/runs": ("training", "registry"),
    "training/retraining": ("training/runs",),
    "exploration": ("training",),
    "monitoring": ("registry", "validation"),
    "serving": ("scoring", "registry"),
    "spark": ("scoring", "registry", "health"),
    "config": ("common",),
    "console": ("common",),
    "health": ("registry",),
    "contract": ("models",),
    "testing": ("training",),
    "commands": (
        *("spark", "serving", "exploration", "monitoring", "training/retraining"),
        *("config", "console", "testing"),
    ),
    "main": ("commands",),
}
SHEETS = "tables/sheets"
# Folders within a room.
PARTS = {SHEETS: "tables", "tables/databases": "tables", "samples/results": "samples"}
Arrows = dict[tuple[str, str], list[str]]


def room_of(module: str) -> str:
    """Tell the room of a module, given by its path below the package without a suffix.

    Both entrances are one room, and so are the addresses for plugin authors. Sheets are a part of
    `tables`, which stands on the rest of it; databases are another part of it, and tables of
    results one of `samples`.

    >>> room_of("training/runs/log"), room_of("common/errors"), room_of("main")
    ('training/runs', 'common', 'main')
    """
    folder = module.rpartition("/")[0]
    folder = PARTS.get(folder, folder)
    return folder or {"__main__": "main", "pipelines": "contract"}.get(module, module)


def modules() -> dict[str, Path]:
    """Give each module, by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__")
        found[name.replace("/", ".")] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Tell which modules of ours a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in known else node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name for name in names if name in known and name != "waterflow_cli"}


def arrows() -> Arrows:
    """Give the imports between rooms: who imports whom, and by which modules."""
    known = modules()
    found: Arrows = {}
    for path in known.values():
        module = path.relative_to(PACKAGE).with_suffix("").as_posix()
        if module == "__init__":
            continue
        for name in imported(path, known):
            other = known[name].relative_to(PACKAGE).with_suffix("").as_posix()
            ends = room_of(module), room_of(other)
            if ends[0] != ends[1]:
                found.setdefault(ends, []).append(f"{module} -> {other}")
    return found


def below(room: str) -> set[str]:
    """Give all rooms that a room may import."""
    rooms = set(FLOORS[room])
    return rooms.union(*(below(each) for each in rooms))


def test_every_room_has_its_floor():
    rooms = {room_of(p.relative_to(PACKAGE).with_suffix("").as_posix()) for p in modules().values()}
    assert rooms - {"__init__"} == set(FLOORS)


def test_imports_run_down():
    drawn = arrows()
    wrong = {ends: how for ends, how in drawn.items() if ends[1] not in below(ends[0])}
    assert not wrong
    assert len(drawn) <= 90, f"{len(drawn)} arrows between {len(FLOORS)} rooms"


def test_sheets_stand_on_the_rest_of_tables():
    known = modules()
    below_them = [path for path in known.values() if path.parent == PACKAGE / "tables"]
    names = set().union(*(imported(path, known) for path in below_them))
    assert not [name for name in names if SHEETS.replace("/", ".") in name]
