"""What a model computes, as plain arrays: no library that trains models is needed to score.

It may import `common`. Start at `PortableForm`; `portable_form` makes one of a fitted pipeline.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(
    __name__,
    conversion="portable_form",
    form="PortableForm load_form save_form",
)
