"""When a number of a new model has regressed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """When a number has regressed: new - old is below `-tolerance`, and, if `certain`, its whole 95 % interval is below zero."""

    tolerance: float = 0.02
    certain: bool = False
    n_resamples: int = 1000
    seed: int = 0

    @property
    def text(self) -> str:
        more = " and the 95 % interval of the change lies wholly below zero" if self.certain else ""
        return f"a number regresses when it drops by more than {self.tolerance:g}{more}"
