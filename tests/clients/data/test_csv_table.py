"""Tables of one's own. Oracles: pandas.get_dummies, scikit-learn's StandardScaler, cells by hand."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest
from pandas._libs.parsers import STR_NA_VALUES
from sklearn.preprocessing import StandardScaler

from gauntlet.clients.data import DATASETS, contract, federate
from gauntlet.clients.data.column import NOT_KNOWN
from gauntlet.clients.data.csv_file import CsvFile
from gauntlet.clients.data.csv_table import CsvTable
from gauntlet.clients.data.natural import Natural
from gauntlet.core.errors import DataError


def written(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


@pytest.fixture
def people(tmp_path):
    """200 people of two hospitals; ten ages and five jobs are not known."""
    rng = np.random.default_rng(0)
    age = rng.integers(18, 90, 200).astype(float)
    age[:10] = np.nan
    job = rng.choice(["smith", "nurse", "clerk"], 200).astype(object)
    job[10:15] = ""
    hospital = np.repeat(["south", "north"], [150, 50])
    return written(
        tmp_path / "people.csv", age=age, job=job, hospital=hospital, ill=rng.choice(["no", "yes"], 200)
    )


def test_numbers_are_standardised_and_categories_are_indicators(people, tmp_path):
    """Oracles: StandardScaler and get_dummies on the training rows of a table with a test file of its own."""
    table = pd.read_csv(people)
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    table[:120].to_csv(train, index=False)
    table[120:].to_csv(test, index=False)

    found = CsvTable(str(train), "ill", test_path=str(test), client="hospital").load()

    scaler = StandardScaler().fit(table[:120][["age"]])
    for x, rows in ((found.x, table[:120]), (found.test_x, table[120:])):
        wanted = np.hstack([np.nan_to_num(scaler.transform(rows[["age"]])), pd.get_dummies(rows.job)])
        assert x == pytest.approx(wanted.astype(float), abs=1e-5)
        assert x.dtype == np.float32
    assert found.y.tolist() == (table[:120].ill == "yes").astype(int).tolist()
    assert found.groups.tolist() == table[:120].hospital.tolist()
    assert found.fitted == ("the scale of age", "the categories of job", "the classes")


def test_what_is_given_is_not_learnt_and_bounds_every_input(tmp_path):
    path = written(tmp_path / "t.csv", a=["0", "5", "20", ""], b=["x", "y", "z", ""], c=[1, 2, 1, 2])
    given = CsvTable(
        path, "c", test_share=0.25, ranges={"a": (0, 10)}, categories={"b": ("y", "x")}, classes=("2", "1")
    )

    found = given.load()

    rows = {(0.0, 0, 1, 1), (0.5, 1, 0, 0), (1.0, 0, 0, 1), (0.5, 0, 0, 0)}  # a, is y, is x; class
    both = np.vstack([found.x, found.test_x]), np.concatenate([found.y, found.test_y])
    assert {(*x, y) for x, y in zip(both[0].tolist(), both[1].tolist(), strict=True)} == rows
    assert found.fitted == ()
    assert found.value_range == (0, 1)


def test_each_client_holds_its_own_share_out_whatever_the_others_hold(people, tmp_path):
    found = CsvTable(people, "ill", client="hospital", test_share=0.2).load()
    table = pd.read_csv(people)
    alone = tmp_path / "alone.csv"
    table[table.hospital == "north"].to_csv(alone, index=False)

    north = CsvTable(str(alone), "ill", client="hospital", test_share=0.2).load()

    assert np.unique(found.groups, return_counts=True)[1].tolist() == [40, 120]
    assert north.y.tolist() == found.y[found.groups == "north"].tolist()
    assert federate(CsvTable(people, "ill", client="hospital"), Natural(), 2, 0).num_examples(0) == 40


def test_a_number_to_predict_is_a_regression(tmp_path):
    path = written(tmp_path / "t.csv", a=[1, 2, 3, 4], b=[0.5, -1, 2, 8])
    found = CsvTable(path, "b", regression=True, test_share=0.5).load()

    assert found.targets.names == ("b",)
    assert sorted(np.vstack([found.y, found.test_y]).ravel().tolist()) == [-1, 0.5, 2, 8]


def test_classes_that_are_numbers_stand_in_their_order(tmp_path):
    path = written(tmp_path / "t.csv", a=range(6), c=["10", "9", "100", "10", "9", "100"])
    found = CsvTable(path, "c", test_path=path).load()
    assert found.y.tolist() == [1, 0, 2, 1, 0, 2]


def test_a_packed_table_with_semicolons_and_chosen_columns_is_read(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a;b;c\n1;7;x\n2;8;y\n3;9;x\n4;9;y\n"))
    found = CsvTable(str(path), "c", columns=("b",), separator=";", test_share=0.5).load()
    assert found.x.shape == (2, 1)


def test_it_owes_what_every_data_set_owes(people):
    for check in contract.DATASET_CHECKS:
        check(DATASETS.build("csv", {"path": people, "label": "ill", "client": "hospital"}))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a,b\n1,x\n2,y\n", {"label": "c"}, "unknown column of .*'c'"),
        ("a,b\n1,x\n2,y\n", {"label": "b", "columns": ("aa",)}, "did you mean 'a'"),
        ("a,b\n1,x\n2,y\n", {"label": "b", "columns": ("b",)}, "is the label or the client"),
        ("b\nx\ny\n", {"label": "b"}, "no column besides 'b'"),
        ("a,b\n1,x\n2,\n", {"label": "b"}, r"line 3: a row has no label \('b'\)"),
        ("a,b\n1,NA\n2,y\n", {"label": "b", "missing": ("NA",)}, r"line 2: a row has no label \('b'\)"),
        (
            "a,b\n1,x\n2,y\n",
            {"label": "b", "classes": ("x", "z")},
            r"label 'y' \(line 3\) is none of the classes x, z",
        ),
        ("a,b\n1,3\n2,y\n", {"label": "b", "regression": True}, r"'b' must be numbers.*'y' \(line 3\)"),
        ("a,c,b\n1,k,x\n2,,y\n\n3,,y\n", {"label": "b", "client": "c"}, r"lines 3, 5: a row has no client"),
        ("a,c,b\n1,k,x\n\n2,y\n", {"label": "a"}, "line 4 has 2 cells, the header has 3 columns"),
        ('a,c,b\n"1\n",k,x\n2,y\n', {"label": "a"}, "line 4 has 2 cells, the header has 3 columns"),
        ("a;b\n1;x\n2;y\n", {"label": "b"}, "divided by ';': set separator = ';'"),
        ("a;b\n1;x,z\n2;y\n", {"label": "b"}, "divided by ';': set separator = ';'"),
        ("a;b\n1;x\n2;y,z\n", {"label": "b"}, "divided by ';': set separator = ';'"),
        (
            "a,b\n" + "".join(f"{n},x\n{n}.5,y\n" for n in range(1200)) + "?,x\n-,y\n?,y\n",
            {"label": "b"},
            r"holds numbers, and also '-' \(lines 2403, 2404\).*missing = \[\"-\", \"\?\"\]",
        ),
        (
            "a,b\n2023-01-01,x\n2023-01-02,y\n",
            {"label": "b", "ranges": {"a": (0, 1)}},
            r'also .2023-01-0.. \(line .\): read it as days \(dates = \["a"\]\)',
        ),
        ("a,b\n2023-01-01,x\nlater,y\n", {"label": "b", "dates": ("a",)}, r"'later' \(line 3\): dates are"),
        (
            "a,b\n1,x\n?,y\n",
            {"label": "b", "ranges": {"a": (0, 1)}},
            r"column 'a' holds numbers, and also '\?'",
        ),
        ("a,b\n,x\n,y\n", {"label": "b"}, "column 'a' is empty"),
        ("a,b\n1,x\n2,y\n3,x\n4,y\ninf,x\n6,y\n", {"label": "b"}, r"also 'inf' \(line 6\): leave"),
        ("a,b\n1,x\n1e308,y\n3,x\n4,y\n5,x\n6,y\n", {"label": "b"}, "holds numbers, and also '1e308'"),
        ("a,a,b\n1,1,x\n2,2,y\n", {"label": "b"}, "column 'a' stands there twice"),
        ("a,b\n1,x,3,4\n2\n3,4,5\n", {"label": "b"}, "a row has more cells than the header|is no table"),
        ("", {"label": "b"}, "is no table"),
        ("a,b\n1,x\n", {"label": "b"}, "1 rows are too few to hold 0.5 of them out"),
    ],
)
def test_a_table_that_cannot_be_learnt_from_is_named_in_one_line(tmp_path, content, options, message):
    path = tmp_path / "t.csv"
    path.write_text(content)

    with pytest.raises(DataError, match=message) as caught:
        CsvTable(str(path), test_share=0.5, **options).load()

    assert "\n" not in str(caught.value)


def test_blanks_around_a_name_are_not_of_it(tmp_path):
    (tmp_path / "t.csv").write_text("a , b\n1,x\n2,y\n3,x\n4,y\n")
    assert CsvTable(str(tmp_path / "t.csv"), "b", test_share=0.5).load().x.shape == (2, 1)


def test_an_identifier_is_no_category(tmp_path):
    path = written(tmp_path / "t.csv", key=[f"k{i}" for i in range(1500)], c=["x", "y"] * 750)
    with pytest.raises(DataError, match="1200 different words, at most 1000"):
        CsvTable(path, "c").load()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_share": 0.0}, "test_share"),
        ({"separator": ""}, "separator"),
        ({"encoding": "utf-9"}, "encoding must be one of Python's"),
        ({"encoding": "hex"}, "encoding must be one of Python's"),
        ({"ranges": {"a": ("2023-02-01", "soon")}}, "a must be two numbers or two dates, such as"),
        ({"ranges": {"a": ("2023-02-01", "2023-01-01")}}, r"from low to high, finite, got \[2023-02-01, "),
        ({"dates": ("a",), "categories": {"a": ()}}, "a is in dates and in categories"),
        ({"ranges": {"a": (1, 1)}}, "from low to high"),
        ({"ranges": {"a": (0, 1)}, "categories": {"a": ()}}, "in ranges and in categories"),
        ({"regression": True, "classes": ("a",)}, "a regression has no classes"),
        ({"client": "c"}, "client and label are the same column"),
        ({"classes": ("a", "b", "a")}, "classes: a value stands there twice, got a, b, a"),
        ({"categories": {"job": ("smith", "smith")}}, "job: a value stands there twice"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CsvTable("t.csv", "c", **options)


def test_what_pandas_reads_as_missing_is_so_in_columns_of_numbers_alone(tmp_path):
    """Oracle: pandas' own list of words. In a category "NA" is North America."""
    assert set(NOT_KNOWN) == STR_NA_VALUES - {""}
    words = [*NOT_KNOWN, *(str(n) for n in range(22))]
    path = written(tmp_path / "t.csv", a=words, b=["NA", "EU"] * 20, c=["x", "y"] * 20)

    found = CsvTable(path, "c", test_path=path).load()

    table = pd.read_csv(path, keep_default_na=True)
    scaled = StandardScaler().fit_transform(table[["a"]].dropna())
    assert found.x[:, 0] == pytest.approx(np.concatenate([np.zeros(len(NOT_KNOWN)), scaled[:, 0]]), abs=1e-6)
    assert found.x[:, 1:].tolist() == [[0, 1], [1, 0]] * 20  # EU, NA


def test_named_words_are_empty_cells_in_every_column(tmp_path):
    path = written(tmp_path / "t.csv", a=["1", "?", "3", "?"], b=["u", "?", "v", "u"], c=["x", "y"] * 2)
    found = CsvTable(path, "c", test_path=path, missing=("?",)).load()
    assert found.x.tolist() == [[-1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_dates_are_days_where_that_is_asked_for(tmp_path):
    """By hand: 1 and 3 March 2024 are 60 and 62 days after 1 January, a leap year; noon is half a day."""
    path = written(
        tmp_path / "t.csv", a=["2024-03-01", "2024-03-03", "", "2024-03-02T12:00"], c=["x", "y"] * 2
    )

    given = CsvTable(path, "c", test_path=path, ranges={"a": ("2024-01-01", "2024-12-31")}).load()
    learnt = CsvTable(path, "c", test_path=path, dates=("a",)).load()

    assert given.x[:, 0] == pytest.approx([60 / 365, 62 / 365, 0.5, 61.5 / 365])
    known = learnt.x[[0, 1, 3], 0]
    assert (known.mean(), known.std(), learnt.x[2, 0]) == pytest.approx((0, 1, 0), abs=1e-6)
    assert (given.fitted, learnt.fitted) == (("the classes",), ("the scale of a", "the classes"))


@pytest.mark.parametrize(
    ("words", "options", "note"),
    [
        ([f"2024-01-{n % 31 + 1:02}T{n // 31:02}:00" for n in range(60)], {}, r'dates = \["a"\] makes one'),
        ([f"k{n}" for n in range(60)], {}, "a category of 60 different words, a feature each: name the"),
        ([f"k{n}" for n in range(50)], {}, None),
        ([f"k{n}" for n in range(60)], {"categories": {"a": tuple(f"k{n}" for n in range(60))}}, None),
    ],
)
def test_a_column_that_becomes_very_many_features_is_named(tmp_path, words, options, note):
    path = written(tmp_path / "t.csv", a=words, c=["x", "y"] * (len(words) // 2))
    notes = CsvTable(path, "c", test_path=path, **options).load().notes
    assert len(notes) == (note is not None)
    assert note is None or re.search(note, notes[0])


def test_the_mark_that_some_editors_begin_a_file_with_moves_no_line(tmp_path):
    """Before a quoted name of two lines it hid the quotes from those who count lines."""
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbf"age\nin years",b\n1,x\n2,y\n')
    file = CsvFile(str(tmp_path / "t.csv"))
    assert file.read().columns.tolist() == ["age\nin years", "b"]
    assert file.lines([1]) == "line 4"


def test_another_encoding_is_hinted_at_and_read(tmp_path):
    (tmp_path / "t.csv").write_bytes("a,b\n1,x\n2,M\xfcller\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"line 3 is no utf-8 text \(byte 0xfc\): name its encoding"):
        CsvTable(str(tmp_path / "t.csv"), "b", test_share=0.5).load()
    path = str(tmp_path / "t.csv")
    assert CsvTable(path, "b", test_path=path, encoding="latin-1").load().num_classes == 2


def test_a_file_that_is_not_there_says_where_it_was_looked_for():
    with pytest.raises(DataError, match=r"there is no file nowhere\.csv \(working folder /"):
        CsvTable("nowhere.csv", "c").load()
