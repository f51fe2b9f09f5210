"""What is said of how results became samples: each row is used, or counted by why it is not."""

from __future__ import annotations

from collections import Counter

from waterflow_cli.common.messages import Message, counted

# Beside the rows that a profile leaves out. Together with those used they are all results.
NOT_USED = (
    *("other", "repeated", "set aside", "conflicting"),
    *("rejected", "unknown", "valueless", "uncomputed"),
)


def of_samples(n_samples: int, n_results: int, profile: str, *, is_recognised: bool) -> Message:
    """Say how many samples a table of results made, and as what it was read."""
    samples = counted("{n} sample", "{n} samples", n_samples)
    results = counted("{n} result", "{n} results", n_results)
    if not is_recognised:
        return Message(
            "{samples} of {results} ({profile})", samples=samples, results=results, profile=profile
        )
    return Message(
        "{samples} of {results} as {profile}, recognised by its header (--profile names another)",
        samples=samples,
        results=results,
        profile=profile,
    )


def of_results(counts: Counter[str], choice: str) -> list[Message]:
    """Say how many results are used, where not all are, and why others are not.

    Parameters
    ----------
    counts : Counter of str
        ``results`` and ``used``; `NOT_USED`; ``unitless``, some of those used.
    choice : str
        What decides among several results of one parameter.
    """
    told = {
        "used": counted("{n} used", "{n} used", counts["used"]),
        "other": Message("{n} of other parameters", n=counts["other"]),
        "repeated": Message("{n} repeated", n=counts["repeated"]),
        "set aside": Message(
            "{n} set aside (--duplicates {choice})", n=counts["set aside"], choice=choice
        ),
        "conflicting": Message("{n} in conflict with another", n=counts["conflicting"]),
        "rejected": Message("{n} rejected by their qualifier", n=counts["rejected"]),
        "unknown": Message("{n} of which something unknown is said", n=counts["unknown"]),
        "valueless": Message("{n} without a value", n=counts["valueless"]),
        "uncomputed": Message(
            "{n} of a difference that cannot be computed", n=counts["uncomputed"]
        ),
        "unitless": Message("{n} without a unit, taken in the usual one", n=counts["unitless"]),
    }
    if counts["used"] == counts["results"]:
        del told["used"]
    return [text for name, text in told.items() if counts[name] or name == "used"]
