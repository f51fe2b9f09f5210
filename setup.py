"""Compile the translations, and build as setup.cfg says."""

from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithTexts(build_py):
    """For editable installs too: these leave the compiled texts beside their source."""

    def run(self) -> None:
        """Write what gettext reads, then collect the packages' files."""
        for path in Path("waterflow_cli/common/locale").rglob("*.po"):
            with path.open("rb") as source, path.with_suffix(".mo").open("wb") as compiled:
                write_mo(compiled, read_po(source))
        super().run()


setup(cmdclass={"build_py": BuildWithTexts})
