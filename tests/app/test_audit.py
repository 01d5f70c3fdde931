import pandas as pd
import pytest
from typer.testing import CliRunner

from persona_affect.app.cli import app
from persona_affect.datasets import write_miniature


def run(*arguments):
    return CliRunner().invoke(app, ["audit", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def omi(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets") / "omi"
    write_miniature("omi", root, n_clips=10)
    ratings = pd.read_csv(root / "ratings.csv")
    table = pd.DataFrame({"group": ratings["stimulus"], "age": ["old", "young"] * 5, "place": "x"})
    table.to_csv(root.parent / "who.csv", index=False)
    return root


def test_the_bundled_model_by_groups_of_a_table(omi, tmp_path):
    page, table = tmp_path / "audit.html", tmp_path / "audit.csv"
    options = ("--sensitive", "age", "--table", omi.parent / "who.csv", "--min-group", 2)
    result = run(
        *("bundled", omi, "-o", page, "--csv", table, *options),
        *("--disturbed", 1, "--resamples", 5, "--option", "attributes=happy,smart"),
    )
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert "Audit of the bundled model on omi" in text
    assert "By age" in text
    assert "a face 40 pixels wide" in text
    rows = pd.read_csv(table)
    assert set(zip(rows["feature"], rows["group"], rows["target"], strict=True)) == {
        (feature, group, target)
        for target in ("happy", "smart")
        for feature, group in (("all", "all"), ("age", "old"), ("age", "young"))
    }
    assert rows.loc[rows["group"] == "old", "n"].tolist() == [5, 5]


def test_columns_of_the_data_set_are_cut_into_thirds(omi, tmp_path):
    page = tmp_path / "audit.html"
    result = run(
        *("bundled", omi, "-o", page, "--sensitive", "outgoing", "--min-group", 2),
        *("--disturbed", 0, "--resamples", 5),
    )
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert "By outgoing" in text
    assert "lowest third" in text
    assert "changes a little" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "audit.pdf"], "must end in"),
        (["-o", "OMI/ratings.csv"], "ratings.csv"),
        (["-o", "audit.html", "--csv", "audit.txt"], "must end in"),
        (["-o", "audit.html", "--sensitive", "hair"], "--sensitive hair: there is no such column"),
        (["-o", "audit.html", "--table", "who.csv"], "--table belongs to --sensitive"),
        (["-o", "audit.html", "--split", "test"], "No sample of omi is of the part 'test'"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(omi, tmp_path, options, message):
    options = [
        o.replace("OMI", str(omi))
        if o.startswith("OMI")
        else str(tmp_path / o)
        if o.startswith("audit.")
        else o
        for o in options
    ]
    result = run("bundled", omi, *options)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not (tmp_path / "audit.html").exists()


def test_tables_that_cannot_be_matched_are_named(omi, tmp_path):
    page = tmp_path / "audit.html"
    (tmp_path / "none.csv").write_text("person,age\n1,2\n", encoding="utf-8")
    (tmp_path / "twice.csv").write_text("group,age\n1,2\n1,3\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("group,age\n-1,2\n", encoding="utf-8")
    for name, message in (
        ("none", "has no column 'group'"),
        ("twice", "two rows of the group '1'"),
        ("other", "no row of this data set"),
    ):
        table = tmp_path / f"{name}.csv"
        result = run("bundled", omi, "-o", page, "--sensitive", "age", "--table", table)
        assert result.exit_code == 2, result.output
        assert message in " ".join(result.output.split())
