"""Zip files of others: bounded, and plain, before anything of them is unpacked."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Sequence
from pathlib import PurePosixPath

from waterflow_cli.common.messages import tr

_MOST_MEMBERS = 100_000
# Arrays of a forest shrink to a twentieth, pages and lists to a thirtieth; a bomb to a thousandth.
_MOST_RATIO = 200
_FREE_BYTES = 16 << 20
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_members(
    members: Sequence[zipfile.ZipInfo], n_bytes: int, *, at_most: int = _MOST_MEMBERS
) -> None:
    """Refuse an archive that is no plain one of a sensible size, by its table of contents.

    A member is never unpacked beyond the size that the table says.

    Parameters
    ----------
    n_bytes : int
        Size of the archive.

    Raises
    ------
    ValueError
        Naming what is wrong with it.
    """
    names = [member.filename for member in members]
    if len(names) > at_most:
        raise ValueError(tr("it has too many members"))
    if len({*names}) < len(names):
        raise ValueError(tr("two members have one name"))
    total = sum(member.file_size for member in members)
    if total > _FREE_BYTES + _MOST_RATIO * n_bytes:
        raise ValueError(tr("it is too large unpacked"))
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
            raise ValueError(tr("a name in it leads elsewhere"))
        if stat.S_ISLNK(member.external_attr >> 16) or member.is_dir():
            raise ValueError(tr("a member is no file"))
        if member.compress_type not in _PLAIN or member.flag_bits & 1:
            raise ValueError(tr("a member is packed in another way"))
