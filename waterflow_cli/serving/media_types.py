"""What a request holds and what it wants back, by its headers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from operator import itemgetter

from starlette.datastructures import Headers

from waterflow_cli.common.messages import tr
from waterflow_cli.serving.judging import CSV, JSON
from waterflow_cli.serving.problems import RequestError

KNOWN = (JSON, CSV)


def sent_type(headers: Headers) -> str:
    """Tell what the body holds: `JSON` or `CSV`.

    Raises
    ------
    RequestError
        415 for anything else, and for what is compressed.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = headers.get("content-encoding", "identity").strip().lower()
    if media_type in KNOWN and coding == "identity":
        return media_type
    shown = f"{media_type or '?'}{'' if coding == 'identity' else f' ({coding})'}"
    raise RequestError(
        415,
        tr("The body is sent as {media_type}.", media_type=shown),
        tr("Send it plain, as {known}.", known=" or ".join(KNOWN)),
    )


def chosen_type(accept: str, sent: str) -> str:
    """Choose what the answer holds; of equals, what was sent.

    >>> chosen_type("", "text/csv"), chosen_type("application/json, */*;q=0.1", "text/csv")
    ('text/csv', 'application/json')

    Raises
    ------
    RequestError
        406 if the client takes neither.
    """
    if not accept.strip():
        return sent
    # Of a range that is named twice the greater weight counts.
    weights = dict(sorted(map(_read_range, accept.split(",")), key=itemgetter(1)))
    best = max(sent, *KNOWN, key=partial(_weight, weights))
    if _weight(weights, best) <= 0:
        raise RequestError(
            406,
            tr("The answer can be {known}.", known=" or ".join(KNOWN)),
            tr("Accept one of them, or leave the header out."),
        )
    return best


def _read_range(text: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip() for part in text.lower().split(";"))
    weight = next((value for value in parameters if value.startswith("q=")), "q=1")
    try:
        return media_range, float(weight.removeprefix("q="))
    except ValueError:
        return media_range, 0.0


def _weight(weights: Mapping[str, float], kind: str) -> float:
    """Give the weight of a media type; the range that names it most closely decides."""
    covering = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((weights[each] for each in covering if each in weights), 0.0)
