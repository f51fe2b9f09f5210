"""Text in any encoding as UTF-8: which one it is, and where it is another."""

from __future__ import annotations

import codecs
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on
from paths import FAULTY

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.tables.encodings import SAMPLE_BYTES, TextStream
from waterflow_cli.tables.reading import open_table
from waterflow_cli.tables.reading_options import ReadingOptions

TABLE = "site;Turbidité\nChâteau;7,1\nN° 3 – été;6,9\n"
ASCII = b"site;ph\n" + b"A;7\n" * (SAMPLE_BYTES // 2)  # two samples long
ASCII_LINES = ASCII.count(b"\n")


def read(data: bytes, encoding: str | None = None, n_bytes: int = 1 << 16) -> tuple[str, str]:
    """Read all; give the text and what the encoding was at the end."""
    stream = TextStream(io.BufferedReader(io.BytesIO(data)), "river.csv", encoding)  # type: ignore[arg-type]
    pieces = []
    while piece := stream.read(n_bytes):
        pieces.append(piece)
    assert stream.is_at_end
    return b"".join(pieces).decode("utf-8"), stream.encoding


OTHER_TEXT = [
    *(("cp850", "Dureté"), ("cp850", "prélèvement"), ("cp850", "Härte"), ("cp850", "x (µS/cm)")),
    *(("cp850", "TH (°f)"), ("mac_roman", "Dureté"), ("cp1251", "Проба"), ("koi8-r", "вода")),
    *(("cp1253", "Δείγμα"), ("gbk", "采样点"), ("gbk", "水库"), ("big5", "採樣點")),
    *(("cp1250", "Wisła"), ("cp1250", "Łódź"), ("cp1250", "Gdańsk"), ("cp1250", "próbkę ścieków")),
    *(("cp1250", "průměr"), ("cp1250", "Místo měření"), ("cp1250", "přítok"), ("cp1250", "číslo")),
    *(("cp1250", "mező"), ("cp1254", "çeşme"), ("cp1254", "çıkış"), ("cp1254", "kayıt yılı")),
    *(("gbk", "钙"), ("big5", "溫度"), ("big5", "台北市"), ("shift_jis", "東京都")),
    *(("shift_jis", "地点"), ("shift_jis", "カルシウム"), ("shift_jis", "ひらがな")),
]


@pytest.mark.parametrize(("encoding", "text"), OTHER_TEXT, ids=str)
def test_text_of_no_language_of_cp1252_is_doubted(encoding: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    path.write_bytes(f"site,ph,{text}\nA,7,1\n".encode(encoding))
    with open_table(str(path)) as table:
        assert "cp1252 (IN DOUBT for '" in str(table.dialect)
        assert "--encoding" in str(table.dialect)
    with open_table(str(path), options=ReadingOptions(encoding=encoding)) as table:
        assert "DOUBT" not in str(table.dialect)
        assert table.columns[-1] == text


@pytest.mark.parametrize(
    "text",
    [
        *("Dureté totale °f", "Conductivité à 25 °C (µS/cm)", "Größe", "m³/h", "CRÉÉE", "São João"),
        *("Sjøen på Ås", "sœur", "« Étang »", "l’eau d’été…", "n° 2²", "Señor Núñez", "50 €"),
        *(
            "niðurstöður",
            "Mýrdalur",
            "þvottur",
            "Réunion",
            "garçon façade",
            "cœur",
            "crêpe",
            "guêpe",
        ),
        *(
            "ouzbèke",
            "où",
            "gruyère",
            "più",
            "lunedì",
            "virtù",
            "España año",
            "¿Él? ¡Ánimo!",
            "søø",
        ),
        *("Straße", "Übermaß", "Gülle", "Vättern", "Öresund", "à 20 °C", "Aïn", "Noël", "Citroën"),
        *("Žilina", "Tšekki", "Pb† Zn‡", "‚Wort‘ „Wort“", "ÄÄNEKOSKI", "jäääär", "½ l", "æ og ø"),
    ],
)
def test_text_of_western_europe_is_not_doubted(text: str, tmp_path: Path) -> None:
    path = tmp_path / "river.csv"
    path.write_bytes(f"site,ph,{text}\nA,7,é\n".encode("cp1252"))
    with open_table(str(path)) as table:
        assert str(table.dialect) == "cp1252, separator ','"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8 with BOM"),
        ("cp1252", "cp1252"),
        ("utf-16", "utf-16-le"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32-le"),
    ],
)
@pytest.mark.parametrize("n_bytes", [1, 3, 1 << 16])
def test_encoding_is_found(written: str, found: str, n_bytes: int) -> None:
    assert read(TABLE.encode(written), n_bytes=n_bytes) == (TABLE, found)


@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("width", [16, 32])
def test_byte_order_mark_tells_the_order_and_is_no_text(width: int, order: str) -> None:
    mark = getattr(codecs, f"BOM_UTF{width}_{order.upper()}")
    assert read(mark + TABLE.encode(f"utf-{width}-{order}")) == (TABLE, f"utf-{width}-{order}")


def test_ascii_is_utf_8() -> None:
    for data in (b"", b"ph\n7\n", b"ph\r\n7\r\n"):
        assert read(data) == (data.decode(), "utf-8")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.parametrize(
    "after", [0, 1, SAMPLE_BYTES - 3, SAMPLE_BYTES - 2, SAMPLE_BYTES - 1, SAMPLE_BYTES, len(ASCII)]
)
def test_first_byte_beyond_ascii_decides_wherever_it_stands(encoding: str, after: int) -> None:
    text = ASCII[:after].decode() + "\né;–;€\n" + "A;7\n" * 5
    got, found = read(text.encode(encoding))
    assert found == encoding
    assert got == text


@pytest.mark.parametrize("text", ["é", "ph;qualité\n7;bonne\n6;raté", "ph;à"])
def test_byte_beyond_ascii_at_the_very_end_decides_too(text: str) -> None:
    assert read(text.encode("cp1252")[-1:]) == (text[-1:], "cp1252")
    assert read(text[-1:].encode()) == (text[-1:], "utf-8")


def test_encoding_is_open_as_long_as_all_is_ascii() -> None:
    stream = TextStream(io.BufferedReader(io.BytesIO(ASCII + "é\n".encode("cp1252"))), "river.csv")  # type: ignore[arg-type]
    assert stream.read(100)
    assert stream.encoding == "utf-8"
    while stream.read(1 << 16):
        pass
    assert stream.encoding == "cp1252"


@given(
    text=st.text(alphabet="aé;\n\r–€œ0", max_size=40),
    encoding=st.sampled_from(["utf-8", "cp1252", "utf-8-sig", "utf-16", "utf-32"]),
    n_bytes=st.integers(1, 9),
)
@tried_on(300)
def test_any_text_is_the_same_when_its_encoding_is_told(
    text: str, encoding: str, n_bytes: int
) -> None:
    said = {"utf-8-sig": "utf-8"}.get(encoding, encoding)
    assert read(text.encode(encoding), said, n_bytes)[0].removeprefix("\ufeff") == text


@given(
    text=st.lists(st.sampled_from(["a", "é;", "\n", "è\r", "– ", "€", "œu", "°C", "µg"])).map(
        "".join
    ),
    encoding=st.sampled_from(["utf-8", "cp1252"]),
)
@tried_on(300)
def test_any_french_text_is_the_same_when_its_encoding_is_found(text: str, encoding: str) -> None:
    assert read(text.encode(encoding))[0] == text


# --- two encodings, or none -----------------------------------------------------------------------


@pytest.mark.parametrize("between", [0, 3 * SAMPLE_BYTES // 4])
def test_utf_8_that_becomes_cp1252_is_named_by_its_line(between: int, tmp_path: Path) -> None:
    from waterflow_cli.tables.reading import open_table

    filler = b"B;6\n" * between
    path = tmp_path / "river.csv"
    path.write_bytes(
        "site;ph\nÉcole;7\n".encode() + filler + "Château;7\n".encode("cp1252") + b"C;7\n"
    )
    with (
        pytest.raises(InputError, match=rf"line {between + 3}: byte 0xE2 is not UTF-8") as caught,
        open_table(str(path)) as table,
    ):
        list(table.batches())
    assert caught.value.exit_code == 3


def test_cp1252_that_becomes_utf_8_is_named_by_its_line() -> None:
    data = b"A\n" + ASCII + "Château\n".encode("cp1252") + ASCII + b"B\n" + "École\n".encode()
    line = 2 * ASCII_LINES + 4
    with pytest.raises(InputError, match=f"line {line}: byte 0xC3 belongs to UTF-8") as caught:
        read(data)
    assert "--encoding" in str(caught.value.hint)


def test_byte_of_no_encoding_is_named_by_its_line() -> None:
    with pytest.raises(InputError, match="line 3: byte 0x81 is neither UTF-8 nor cp1252"):
        read((FAULTY / "no_encoding.csv").read_bytes())


def test_utf_16_that_is_cut_short_is_refused() -> None:
    with pytest.raises(InputError, match="line 2: byte 0x0A is not utf-16"):
        read((FAULTY / "utf16_cut_short.csv").read_bytes())


def test_lines_of_utf_16_are_counted_to_the_fault() -> None:
    lone = b"\x00\xd8"  # half of a pair
    data = codecs.BOM_UTF16_LE + ("a\n" * 5).encode("utf-16-le") + lone + b"a\0"
    with pytest.raises(InputError, match="line 6: byte 0x00 is not utf-16"):
        read(data)


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\0", b"a\0", bytes(range(128)), b"\0a\0\0b\0\0"])
def test_nul_bytes_alone_make_no_utf_16_of_anything(data: bytes) -> None:
    try:
        text, encoding = read(data)
    except InputError:
        return
    assert text.encode(encoding) == data


# --- what the user says ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "written", "text"),
    [
        ("iso8859-15", "iso8859-15", "5 €"),
        ("latin1", "latin1", "é"),
        ("mac-roman", "mac-roman", "Château"),
        ("cp850", "cp850", "Château"),
        ("UTF8", "utf-8", "Château"),
        ("utf-8", "utf-8-sig", "Château"),
        ("utf-8-sig", "utf-8-sig", "Château"),
        ("utf-8-sig", "utf-8", "Château"),
        ("utf-16", "utf-16", "Château"),
        ("utf-16-le", "utf-16-le", "水"),
        ("shift_jis", "shift_jis", "水"),
        ("gb18030", "gb18030", "水"),
    ],
)
def test_named_encoding_is_taken_at_its_word(said: str, written: str, text: str) -> None:
    assert read(text.encode(written), said)[0].removeprefix("\ufeff") == text


@pytest.mark.parametrize("said", ["utf-8", "utf-16-le", "utf-16"])
def test_byte_order_mark_is_no_text_where_the_encoding_is_named(said: str) -> None:
    written = {"utf-8": "utf-8-sig", "utf-16-le": "utf-16"}.get(said, said)
    assert read(TABLE.encode(written), said)[0] == TABLE


def test_encoding_that_does_not_fit_is_refused_with_the_line() -> None:
    with pytest.raises(InputError, match="line 2: byte 0xC3 is not ascii") as caught:
        read("a\né\n".encode(), "ascii")
    assert "--encoding" in str(caught.value.hint)


@pytest.mark.parametrize("said", ["klingon", "", " ", "a\0b", "utf-9", "../x"])
def test_unknown_encoding_is_wrong_usage(said: str) -> None:
    if not said:
        assert read(b"a", said) == ("a", "utf-8")
        return
    with pytest.raises(UsageError, match="no such encoding") as caught:
        read(b"a\n", said)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("said", ["base64", "hex", "zlib", "rot13", "idna", "undefined", "bz2"])
def test_codec_that_is_no_encoding_of_text_is_wrong_usage(said: str) -> None:
    with pytest.raises(UsageError, match=f"--encoding {said}: no such encoding"):
        read(TABLE.encode(), said)


def test_utf_16_without_a_mark_is_read_in_the_order_of_its_bytes() -> None:
    assert read(TABLE.encode("utf-16-be"), "utf-16") == (TABLE, "utf-16-be")


def test_what_is_no_utf_16_though_the_user_says_so_is_refused() -> None:
    with pytest.raises(InputError, match="utf-16"):
        read(TABLE.encode(), "utf-16")
