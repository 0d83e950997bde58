"""In this process, one field after the other."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from smear.types import Field, Outcome


def run(make: Callable[[], Callable[[Iterable[Field]], Iterator[Outcome]]], fields: Sequence[Field]) -> Iterator[Outcome]:
    """Build one analyser here and give it all the fields."""
    yield from make()(fields)
