"""The committed data dictionary is the one the declarations give."""

import pytest

from zsds_tasks.errors import DeclarationError
from zsds_tasks.products.dictionary import data_dictionary
from zsds_tasks.products.tables import list_tables, load_table
from zsds_tasks.settings import REPOSITORY

REWRITE = """.venv/bin/python -c 'from zsds_tasks.products.dictionary import data_dictionary; \
print(data_dictionary(), end="")' > docs/data-dictionary.md"""


def test_the_committed_page_is_up_to_date():
    committed = (REPOSITORY / "docs" / "data-dictionary.md").read_text(encoding="utf-8")
    assert committed == data_dictionary(REPOSITORY / "include"), f"write it again: {REWRITE}"


def test_every_column_of_every_table_is_there():
    page = data_dictionary(REPOSITORY / "include")
    for name in list_tables(REPOSITORY / "include"):
        part = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for column in load_table(name, REPOSITORY / "include").columns:
            assert f"| `{column.name}` |" in part


def test_a_table_cell_never_breaks_the_table(tmp_path):
    folder = tmp_path / "schemas" / "tables"
    folder.mkdir(parents=True)
    (folder / "odd.yaml").write_text(
        "table: odd\ndescription: Odd.\nkey: [name]\ncolumns:\n"
        '  - {name: name, type: string, pattern: "^(a|b)$", description: "One | other."}\n'
        "  - {name: few, type: int8, values: [1, 2], nullable: true, description: Few.}\n"
        "  - {name: big, type: float64, range: [null, 3], description: Big.}\n"
    )
    page = data_dictionary(tmp_path)
    row = next(line for line in page.splitlines() if line.startswith("| `name`"))
    assert row.replace("\\|", "").count("|") == 7
    assert "| `few` | int8, *null* |  | Few. | 1, 2 |  |" in page
    assert "at most 3" in page
    assert "Not laid out over the sky." in page


def test_a_wrong_declaration_is_refused_by_name(tmp_path):
    folder = tmp_path / "schemas" / "tables"
    folder.mkdir(parents=True)
    (folder / "bad.yaml").write_text("table: bad\ndescription: Bad.\nkey: [x]\ncolumns: []\n")
    with pytest.raises(DeclarationError, match=r"bad\.yaml"):
        data_dictionary(tmp_path)
