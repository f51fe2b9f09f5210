"""Files are found by their URI as Spark's JVM sees them, whatever their names."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.spark.files import HadoopFiles, path_of, refuse_missing
from waterflow_cli.spark.session import SparkOptions, open_session
from waterflow_cli.tables.sources import PARQUET_MAGIC, is_uri

ODD_NAMES = ("a b.csv", "50%.csv", "%20.csv", "[a].csv", "été.csv", "{a,b}.csv", "a+b#?.csv")


@pytest.fixture(scope="module")
def local_session():
    with open_session(SparkOptions("local[2]")) as session:
        yield session


@pytest.fixture
def hadoop(local_session, workdir):
    return HadoopFiles(local_session)


def names(files):
    return [file.name for file in files]


@pytest.mark.parametrize("text", ["s3a://bucket/a.csv", "hdfs:///a.csv", "file:/a.csv"])
def test_path_with_a_scheme_is_a_uri(text):
    assert is_uri(text)


@pytest.mark.parametrize("text", ["a.csv", "/a.csv", "12:30.csv", "C:a.csv", "a:b.csv", ":/", "-"])
def test_path_of_this_machine_is_none(text):
    assert not is_uri(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("file:///tmp/a%20b.csv", "file:/tmp/a b.csv"),
        ("file:///t/%2520%23%3F.csv", "file:/t/%20#?.csv"),
        ("s3a://bucket/%C3%A9.csv", "s3a://bucket/é.csv"),
    ],
)
def test_uris_of_one_file_have_one_path(one, other):
    assert path_of(one, is_escaped=True) == path_of(other)


def test_uris_of_two_stores_have_two_paths():
    assert path_of("s3a://a/x.csv") != path_of("s3a://b/x.csv")
    assert path_of("hdfs://a/x.csv") != path_of("file:/x.csv")


@pytest.mark.parametrize("uri", ["ftp://ana:secret@host/a.csv", "s3a://KEY:secret@bucket/"])
def test_password_in_a_uri_is_refused_and_not_shown(uri):
    with pytest.raises(UsageError, match=r"://\*\*\*@.*: holds a password\.") as caught:
        refuse_missing((uri,))
    assert "secret" not in f"{caught.value}{caught.value.hint}"


def test_account_in_a_uri_is_no_password():
    refuse_missing(("abfss://container@account.dfs.core.windows.net/a@c.csv",))


def test_missing_file_is_refused_without_spark(workdir):
    Path("a.csv").write_text("x")
    refuse_missing(["a.csv", "s3a://bucket/a.csv"])
    with pytest.raises(InputError, match=r"b\.csv: no such file\."):
        refuse_missing(["a.csv", "b.csv"])
    with pytest.raises(UsageError, match=r"No file matches '\*\.tsv'\."):
        refuse_missing(["*.tsv"])
    with pytest.raises(UsageError, match="cannot read this command's standard input"):
        refuse_missing(["-"])


@pytest.mark.spark
@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_found_read_and_listed(name, hadoop):
    Path("in").mkdir()
    path = Path("in", name)
    path.write_bytes(b"0123456789")
    (file,) = hadoop.list_inputs((str(path),))
    assert (file.name, file.n_bytes) == (f"in/{name}", 10)
    assert path_of(file.uri) == f"file://{path.absolute()}"
    assert hadoop.read_start(file, 4) == b"0123"
    assert hadoop.read_start(file, 40) == b"0123456789"
    assert names(hadoop.list_inputs(("in",))) == [f"in/{name}"]
    assert names(hadoop.list_inputs((path.absolute().parent.as_uri(),))) == [
        f"{path.absolute().parent.as_uri()}/{name}"
    ]


@pytest.mark.spark
@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_written(name, hadoop):
    hadoop.write(f"out/{name}", b"content")
    assert Path("out", name).read_bytes() == b"content"
    assert hadoop.exists(f"out/{name}")
    assert hadoop.names_in("out") == [name]
    hadoop.rename(f"out/{name}", "out/plain")
    assert hadoop.is_folder("out")
    assert not hadoop.is_folder("out/plain")
    hadoop.delete("out")
    assert not Path("out").exists()


@pytest.mark.spark
def test_name_with_a_colon_is_refused_in_words(hadoop):
    Path("12:30.csv").write_text("x")
    with pytest.raises(InputError, match=r"12:30\.csv: cannot be opened") as caught:
        hadoop.read_start(*hadoop.list_inputs(("12:30.csv",)), 4)
    assert caught.value.hint == "Hadoop takes no colon in a name: give it another."
    with pytest.raises(UsageError, match=r"a:b\.csv: cannot be written"):
        hadoop.write("a:b.csv")


@pytest.mark.spark
def test_folder_is_its_files_by_name(hadoop):
    Path("in").mkdir()
    for name in ("b.csv", "a.csv", "_SUCCESS", ".a.csv.crc", "_hidden.csv"):
        Path("in", name).write_text("x")
    assert names(hadoop.list_inputs(("in/",))) == ["in/a.csv", "in/b.csv"]


@pytest.mark.spark
def test_inputs_keep_the_order_of_the_command(hadoop):
    Path("in").mkdir()
    for name in ("z.csv", "in/b.csv", "in/a.csv"):
        Path(name).write_text("x")
    assert names(hadoop.list_inputs(("z.csv", "in/*.csv"))) == ["z.csv", "in/a.csv", "in/b.csv"]
    uri = Path("in").absolute().as_uri()
    assert names(hadoop.list_inputs((f"{uri}/*.csv",))) == [
        f"{uri.replace('///', '/')}/{name}" for name in ("a.csv", "b.csv")
    ]


@pytest.mark.spark
def test_name_that_is_no_pattern_wins_over_one(hadoop):
    Path("[a].csv").write_text("brackets")
    Path("a.csv").write_text("none")
    (file,) = hadoop.list_inputs(("[a].csv",))
    assert hadoop.read_start(file, 100) == b"brackets"


@pytest.mark.spark
@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("missing.csv", InputError, r"missing\.csv: no such file\."),
        ("file:///no/such.csv", InputError, r"file:///no/such\.csv: no such file\."),
        ("*.tsv", UsageError, r"No file matches '\*\.tsv'\."),
        ("file:///no/*.csv", UsageError, r"No file matches 'file:///no/\*\.csv'\."),
        ("empty", InputError, "empty: is a folder without files"),
        ("parted", InputError, "parted: is partitioned by folders"),
        ("nested", InputError, "nested: holds the folder within"),
        ("foo://host/a.csv", InputError, r'foo://host/a\.csv: cannot be opened .*scheme "foo"'),
        ("s3a://bucket/a.csv", InputError, r"s3a://bucket/a\.csv: cannot be opened"),
        ("-", UsageError, "standard input"),
    ],
)
def test_what_is_no_input_is_refused(path, kind, message, hadoop):
    Path("empty").mkdir()
    Path("parted/site=a").mkdir(parents=True)
    Path("nested/within").mkdir(parents=True)
    with pytest.raises(kind, match=message) as caught:
        hadoop.list_inputs((path,))
    assert "\n" not in str(caught.value)


@pytest.mark.spark
def test_scheme_without_its_jar_names_the_option(hadoop):
    for path in ("s3a://bucket/a.csv", "foo://host/a.csv"):
        with pytest.raises(InputError) as caught:
            hadoop.list_inputs((path,))
        assert "--spark-conf spark.jars.packages" in caught.value.hint
    with pytest.raises(UsageError, match="cannot be written") as caught:
        hadoop.exists("s3a://bucket/out")
    assert "--spark-conf spark.jars.packages" in caught.value.hint


@pytest.mark.spark
def test_footer_of_a_parquet_file_tells_its_columns(hadoop):
    pq.write_table(pa.table({"ph": [7.0], "site": ["x"]}), "in.parquet")
    (file,) = hadoop.list_inputs(("in.parquet",))
    footer = PARQUET_MAGIC + hadoop.read_footer(file)
    assert pq.read_schema(pa.BufferReader(footer)).names == ["ph", "site"]


@pytest.mark.spark
def test_upload_appears_whole(hadoop):
    Path("local.csv").write_bytes(b"new")
    Path("out.csv").write_bytes(b"old")
    hadoop.upload(Path("local.csv"), Path("out.csv").absolute().as_uri())
    assert Path("out.csv").read_bytes() == b"new"
    assert {path.name for path in Path().iterdir()} >= {"local.csv", "out.csv"}
    assert not Path("out.csv.part").exists()
