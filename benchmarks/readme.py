"""`python -m benchmarks.readme`: put the short table of README from the figures in benchmarks/results.md."""

import re
from pathlib import Path

from benchmarks.figures import COPY, OURS

PROJECT = Path(__file__).resolve().parent.parent
RESULTS = PROJECT / "benchmarks" / "results.md"
README = PROJECT / "README.md"
SECTIONS = {"## On a local disk": "local disk", "## On a mount with the latency of EFS": "the latency of EFS"}

Rows = list[dict[str, str]]


def tables_of(text: str) -> dict[str, Rows]:
    """Return a section's tables by their heading, each row by its column's name: `what`, `who` where there is none."""
    tables: dict[str, Rows] = {}
    for part in text.split("\n### ")[1:]:
        heading, _, body = part.partition("\n")
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line[:1] == "|"]
        if lines:
            nameless = iter(("what", "who"))
            names = [name or next(nameless, "") for name in lines[0]]
            tables[heading] = [dict(zip(names, line, strict=True)) for line in lines[2:]]
    return tables


def short_table(results: str) -> str:
    """Return README's table: pushes of one file. Raises KeyError where the results have them not."""
    lines: list[list[str]] = []
    everyone: list[str] = []
    for heading, where in SECTIONS.items():
        tables = tables_of(results.partition(f"{heading}\n")[2].partition("\n## ")[0])
        pushes = [_with_copy(row, tables) for row in tables["Pushes"] if row["changed"] == "1"]
        names = [name for name in pushes[0] if name not in ("files", "changed", "until answered") and name[0] != "÷"]
        if not lines:
            everyone = names
            lines = [["files", "on", *everyone], ["---", "---", *["---:"] * len(everyone)]]
        calls = tables.get("File calls on the mount", [])
        for row in pushes:
            lines.append([row["files"], where, *(f"{row[name]} ms" if name in row else "–" for name in everyone)])
            counted = {each["who"]: each["calls"] for each in calls if each["what"] == f"push of 1 to {row['files']}"}
            if counted:
                lines.append(["", "file calls", *(counted.get(name, "–") for name in everyone)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _with_copy(row: dict[str, str], tables: dict[str, Rows]) -> dict[str, str]:
    """Return a push's row with what the same push to a working copy took, beside ours, where that was measured."""
    for copy in tables.get("Pushes to a working copy", []):
        if (copy["files"], copy["changed"], copy["local commits"]) == (row["files"], row["changed"], "0"):
            return {"files": row["files"], "changed": row["changed"], OURS: row[OURS], COPY: copy[COPY]} | row
    return row


def with_table(page: str, table: str) -> str:
    """Return the page with the table between its marks. Raises KeyError where they are not there once."""
    text = f"<!-- bench -->\n\n{table}\n<!-- /bench -->"
    page, count = re.compile("<!-- bench -->.*?<!-- /bench -->", re.DOTALL).subn(text, page)
    if count != 1:
        raise KeyError("README has no one place for the benchmark")
    return page


def write_table() -> None:
    """Write README's table from the results. Raises KeyError where one of the two lacks its place."""
    page = with_table(README.read_text(encoding="utf-8"), short_table(RESULTS.read_text(encoding="utf-8")))
    README.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write_table()
