"""Parts of ``report.md`` as its tests read them."""

import re


def above(text: str) -> str:
    """What is read without unfolding anything."""
    return text.partition("<details>")[0]


def folded(text: str, title: str) -> str:
    """The one section of such a title, its summary first."""
    (found,) = re.findall(
        rf"<details><summary>{re.escape(title)}: (.*?)</summary>\n(.*?)\n</details>\n",
        text,
        re.DOTALL,
    )
    summary, inside = found
    return f"{summary}\n{inside}".rstrip("\n")


def table(text: str, caption: str) -> list[list[str]]:
    """Cells of the one table under such a caption: headers, how they are aligned, rows."""
    _, under = text.split(f"\n**{caption}**\n\n")
    return [cells(line) for line in under.split("\n\n")[0].splitlines()]


def cells(line: str) -> list[str]:
    """Cells of a line of a table; a bar in a text is none of its own."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def tables(text: str) -> list[str]:
    """All tables, after a look at whether each is one."""
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    for block in blocks:
        lines = block.splitlines()
        assert len({len(cells(line)) for line in lines}) == 1, block
        assert all(line.startswith("|") and line.endswith("|") for line in lines), block
        assert set(cells(lines[1])) <= {"---", "--:"}, block
    return blocks
