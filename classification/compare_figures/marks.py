"""How a paper looks in every figure: a colour and a mark, so that neither a printer nor a colour-blind reader loses one."""

COLOURS = ("#00619a", "#b84f00", "#00785a", "#a8507f", "#9a6a00")  # Okabe and Ito's, darkened to be read on paper
MARKS = ("o", "s", "^", "D", "v")


def colour_of(paper: int) -> str:
    return COLOURS[paper % len(COLOURS)]


def mark_of(paper: int) -> str:
    return MARKS[paper % len(MARKS)]
