"""What a model plugin is: the contract between waterflow and the models it can train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, Protocol, runtime_checkable

CONTRACT = 1
GROUP = "waterflow.models"

Balance = Literal["smote", "smoteenn", "under", "weight", "none"]
Calibration = Literal["sigmoid", "isotonic", "none"]
Certifying = Literal["split", "cross"]
CALIBRATIONS: tuple[Calibration, ...] = ("sigmoid", "isotonic", "none")
CERTIFYING: tuple[Certifying, ...] = ("split", "cross")
BALANCES: tuple[Balance, ...] = ("smote", "smoteenn", "under", "weight", "none")


@runtime_checkable
class ModelPlugin(Protocol):
    """A ready object behind an entry point of the group ``waterflow.models``.

    The entry point's name is what the user types. A plugin says how to build a model; it never
    splits, tunes, logs, prints or reads files.

    A plugin may have one method more, ``portable_form(pipeline)``. Of a fitted pipeline without
    samplers it gives what the pipeline computes, as a part of
    `waterflow_cli.models.portable.parts`: such a model is scored with NumPy alone. It is used only
    if it gives what the pipeline gives on rows made up for it. Pipelines of imputers, scalers and
    classifiers that the bundled plugins are made of have their forms without it.

    Attributes
    ----------
    contract : int
        The version of this contract that the plugin was written for: 1.
    summary : str
        One line for ``waterflow plugins list``.
    requires : mapping of str to str
        Module that must be installed to the command that installs it.
    trusted_types : sequence of str
        Full names of the types that a saved model holds beyond those of numpy, and of
        scikit-learn where they are checked. Loading refuses any other type.
    search_space : mapping of str to sequence
        Values worth trying for each parameter, for tuning.
    """

    contract: int
    summary: str
    requires: Mapping[str, str]
    trusted_types: Sequence[str]
    search_space: Mapping[str, Sequence[Any]]

    def default_params(self) -> Mapping[str, Any]:
        """Return each parameter that ``--param`` may set, with its default."""
        ...

    def build_pipeline(
        self,
        *,
        columns: Sequence[str],
        balance: Balance,
        random_state: int,
        params: Mapping[str, Any],
    ) -> Any:
        """Build an unfitted imbalanced-learn Pipeline.

        Parameters
        ----------
        columns : sequence of str
            The measurements, in the order of the frame that the pipeline will be given. The
            frame holds floats, NaN where a value is missing.
        balance : str
            How to treat unequal classes; one of `BALANCES`. It must act in ``fit`` alone.
        random_state : int
            Seed for everything random: equal seeds give equal models, bit for bit.
        params : mapping of str to object
            The user's parameters, all of them keys of `default_params`.

        Returns
        -------
        imblearn.pipeline.Pipeline
            Its last step has ``predict`` and ``predict_proba``; classes are 0 and 1.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class EstimatorPlugin:
    """A model plugin made of one classifier class; see `ModelPlugin`.

    Parameters
    ----------
    summary : str
        One line for the list of plugins.
    estimator : str
        ``module:Class``; imported when a pipeline is built. Its ``fit`` takes ``sample_weight``.
    defaults : mapping of str to object
        Where this plugin differs from the class's own defaults.
    scale : bool
        Whether the classifier needs standardised columns.
    """

    summary: str
    estimator: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    scale: bool = False
    requires: Mapping[str, str] = field(default_factory=dict)
    trusted_types: Sequence[str] = ()
    search_space: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    contract: int = CONTRACT

    def default_params(self) -> dict[str, Any]:
        """Return the classifier's parameters; the seed is set by ``random_state`` alone."""
        params: dict[str, Any] = {**self._class()().get_params(), **self.defaults}
        params.pop("random_state", None)
        return params

    def make_classifier(self, params: Mapping[str, Any], random_state: int) -> Any:
        """Make the unfitted classifier."""
        cls = self._class()
        seed = {"random_state": random_state} if "random_state" in cls().get_params() else {}
        return cls(**{**self.defaults, **params, **seed})

    def build_pipeline(
        self,
        *,
        columns: Sequence[str],
        balance: Balance,
        random_state: int,
        params: Mapping[str, Any],
    ) -> Any:
        """Build the unfitted pipeline; the columns do not matter to it."""
        from waterflow_cli.models.pipelines import balanced_pipeline  # with all of scikit-learn

        return balanced_pipeline(
            self.make_classifier(params, random_state),
            balance=balance,
            random_state=random_state,
            scale=self.scale,
            before_sampling=self.steps_before_sampling(random_state),
        )

    def steps_before_sampling(self, random_state: int) -> Sequence[tuple[str, Any]]:
        """Make unfitted steps that see the rows that are there, before any are made up."""
        return ()

    def _class(self) -> Any:
        module, _, name = self.estimator.partition(":")
        return getattr(import_module(module), name)
