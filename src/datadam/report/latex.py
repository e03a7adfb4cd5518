"""The table of a comparison as LaTeX: what `table.md` says, for a paper that loads the package booktabs."""

from datadam.report.table import Json, grid_of, heading, sentences

MARKS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$",
    "–": "--", "…": r"\ldots{}", "\u202f": r"\,",
}  # fmt: skip
NUMBERS = ("ipc", "images", "stored", "distilling", "peak memory")


def latex(table: Json) -> str:
    """A `table` environment: accuracies by method and network, and below them in the caption how they came about."""
    head, rows, reasons = grid_of(table, lambda words, bold: rf"\textbf{{{plain(words)}}}" if bold else plain(words))
    first, last = head.index(table["nets"][0]), head.index(table["nets"][-1])
    lines = []
    for number, (row, cells) in enumerate(zip(table["rows"], rows, strict=True)):
        if number and row["ipc"] != table["rows"][number - 1]["ipc"]:
            lines.append(r"\midrule")
        lines.append(" & ".join(cell if first <= place <= last else plain(cell) for place, cell in enumerate(cells)) + r" \\")
    words = " ".join(plain(one) for one in (f"{heading(table)}.", *reasons, *sentences(table, "Bold marks")))
    columns = "".join("r" if name in NUMBERS or name in table["nets"] else "l" for name in head)
    body = "\n".join(lines)
    return rf"""% needs \usepackage{{booktabs}}
\begin{{table}}
\centering
\caption{{{words}}}
\begin{{tabular}}{{{columns}}}
\toprule
{" & ".join(plain(name) for name in head)} \\
\midrule
{body}
\bottomrule
\end{{tabular}}
\end{{table}}
"""


def plain(words: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(MARKS.get(letter, letter) for letter in " ".join(words.split(" ")))
