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

OWN_NAME = "waterflow-cli"
# Before the first dot of the groups of entry points that plugins stand in.
_GROUP = "waterflow"
# Executors bring their own Spark, and nobody installs or tests there.
_NOT_FOR_EXECUTORS = ("pyspark", "py4j", "pip", "setuptools", "wheel")
_LEFT_OUT = {"__pycache__", "tests"}
# A cluster's network is faster than gzip at higher levels.
_COMPRESSION = 1


def pack_environment(folder: Path) -> Path:
    """Pack the environment's libraries into a ``.tar.gz`` in a folder.

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
    _check_own(library)
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


def _check_own(library: Path) -> None:
    """Check that the files of waterflow, and of what brings plugins for it, lie where is packed."""
    own = [each for each in distributions() if _is_own(each)]
    if OWN_NAME not in [each.name for each in own]:
        raise EngineError(
            "--ship-env: waterflow is not installed in this environment.",
            tr("Install it: pip install waterflow-cli"),
        )
    for each in own:
        origin = json.loads(each.read_text("direct_url.json") or "{}")
        is_editable = bool(origin.get("dir_info", {}).get("editable"))
        if is_editable or Path(str(each.locate_file(""))).resolve() != library.resolve():
            raise EngineError(
                "--ship-env: {name} is installed as editable or from outside this environment, "
                "and cannot be sent.",
                tr(
                    "Install it as executors would have it: pip install . instead of "
                    "pip install -e ."
                ),
                name=each.name,
            )


def _is_own(installed: Distribution) -> bool:
    groups = {entry.group.partition(".")[0] for entry in installed.entry_points}
    return installed.name == OWN_NAME or _GROUP in groups


def _top_names(names: tuple[str, ...]) -> Iterator[str]:
    """Yield the files and folders in site-packages that distributions own."""
    for name in names:
        try:
            files = distribution(name).files or ()
        except PackageNotFoundError:
            continue
        yield from {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}
