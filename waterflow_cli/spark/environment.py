"""Pack the libraries of this Python environment, for clusters whose machines lack them."""

from __future__ import annotations

import json
import sysconfig
import tarfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from waterflow_cli.common.errors import EngineError
from waterflow_cli.common.messages import tr

OWN_NAME = "waterflow"
# Executors bring their own Spark, and nobody installs or tests there.
_NOT_FOR_EXECUTORS = ("pyspark", "py4j", "pip", "setuptools", "wheel")
_LEFT_OUT = {"__pycache__", "tests"}
# A cluster's network is faster than gzip at higher levels.
_COMPRESSION = 1


def pack_environment(folder: Path) -> Path:
    """Pack the environment's libraries into a ``.tar.gz``.

    Parameters
    ----------
    folder : Path
        Where to write; it exists.

    Returns
    -------
    Path
        The archive. Its top is what belongs on PYTHONPATH, so that any Python of the same minor
        version on the same kind of machine can use it.

    Raises
    ------
    EngineError
        If waterflow or a plugin is installed so that its files are elsewhere, as editable ones
        are, or the disk is full.
    """
    library = Path(sysconfig.get_path("purelib"))
    for installed in _own_distributions():
        _check_packable(installed, library)
    left_out = _LEFT_OUT | set(_top_names(_NOT_FOR_EXECUTORS))
    archive = folder / "environment.tar.gz"

    def keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if Path(member.name).name in _LEFT_OUT else member

    try:
        with tarfile.open(archive, "w:gz", compresslevel=_COMPRESSION, dereference=True) as packed:
            for folder_of in sorted({library, Path(sysconfig.get_path("platlib"))}):
                for path in sorted(folder_of.iterdir()):
                    if path.name not in left_out:
                        packed.add(path, path.name, filter=keep)
    except OSError as exc:
        raise EngineError(
            "--ship-env: {library} cannot be packed ({cause}).",
            tr("Packing needs space in the folder for temporary files, TMPDIR."),
            library=library,
            cause=exc,
        ) from exc
    return archive


def _own_distributions() -> Iterator[Distribution]:
    """Yield waterflow, and what brings plugins or schemas for it."""
    try:
        yield distribution(OWN_NAME)
    except PackageNotFoundError as exc:
        raise EngineError(
            "--ship-env: waterflow is not installed in this environment.",
            tr("Install it: pip install waterflow"),
        ) from exc
    for each in distributions():
        groups = {entry.group for entry in each.entry_points}
        if each.name != OWN_NAME and any(name.startswith(f"{OWN_NAME}.") for name in groups):
            yield each


def _check_packable(installed: Distribution, library: Path) -> None:
    """Check that a distribution's files lie where they are packed."""
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    is_editable = bool(origin.get("dir_info", {}).get("editable"))
    is_here = Path(str(installed.locate_file(""))).resolve() == library.resolve()
    if is_editable or not is_here:
        raise EngineError(
            "--ship-env: {name} is installed as editable or from outside this environment, and "
            "cannot be sent.",
            tr("Install it as executors would have it: pip install . instead of pip install -e ."),
            name=installed.name,
        )


def _top_names(names: tuple[str, ...]) -> Iterator[str]:
    """Yield the files and folders in site-packages that distributions own."""
    for name in names:
        try:
            files = distribution(name).files or ()
        except PackageNotFoundError:
            continue
        yield from {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}
