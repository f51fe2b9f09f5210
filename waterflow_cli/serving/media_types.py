"""What a request holds and what it wants back, by its headers."""

from __future__ import annotations

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
    ranges = [_read_range(part) for part in accept.split(",")]
    weights = {kind: _weight(kind, ranges) for kind in (sent, *KNOWN)}
    best = max(weights, key=lambda kind: weights[kind])
    if weights[best] <= 0:
        raise RequestError(
            406,
            tr("The answer can be {known}.", known=" or ".join(KNOWN)),
            tr("Accept one of them, or leave the header out."),
        )
    return best


def _read_range(text: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return media_range, float(value)
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _weight(kind: str, ranges: list[tuple[str, float]]) -> float:
    """Give the weight of a media type; the range that names it most closely decides."""
    for covering in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        found = [weight for media_range, weight in ranges if media_range == covering]
        if found:
            return max(found)
    return 0.0
