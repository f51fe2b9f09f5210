"""Where the tests find things of the project."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAULTY = ROOT / "tests" / "faulty"
