"""Text in the encodings that laboratories use, as one stream of UTF-8."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.tables.row_ends import count_lines

if TYPE_CHECKING:
    import io

UTF_8, UTF_8_BOM, CP1252 = "utf-8", "utf-8 with BOM", "cp1252"
SAMPLE_BYTES = 1 << 20
# UTF-32 first: its mark for little-endian starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Characters of French and English in UTF-8. As cp1252 they would be pairs such as 'Ã©', which no
# text holds: where other bytes are no UTF-8, they show that two encodings are mixed.
_UTF_8_TEXT = re.compile(
    rb"[\xc2\xc3][\x80-\xbf]|\xe2\x80[\x80-\xbf]|\xe2\x82\xac|\xc5[\x92\x93]|\xce\xbc"
    rb"|\xe2\x89[\xa4\xa5]"
)
_LEAST_LEAD = 0xC2
_LEADS = re.compile(rb"[\xc2-\xff]")
# Where cp1252 differs from Latin-1.
_C1 = re.compile(rb"[\x80-\x9f]")
# What cp1252 makes of text in other encodings, and no language that it serves has.
_NO_LANGUAGE = re.compile(
    b"|".join(
        (
            # Four and more characters beyond ASCII in a row: Cyrillic, Greek, Chinese.
            rb"(?!\xe4{4})[\xa1-\xff]{4}",
            # Quotes, capitals and superscripts in words: é in cp850 and Mac Roman, ł in cp1250.
            rb"[A-Za-z][\x82-\x84\x87\x88\x8a-\x8c\x8e\x9f](?=[a-z])",
            rb"[a-z][\x82\x83\x88\x8a\x8e](?=[\s,;|)]|$)",
            rb"[a-z]{2}[\xa2-\xa5\xb3\xb9\xbc-\xbf][a-z]|\xa3[a-z\xf3]",
            rb"[a-z](?:\xbf[a-z]|\xb3[ao\xb9\xea\xf3]|\xb9c)",
            # The degree and micro signs of cp850 in units.
            rb"[(\[\s,;](?:\xf8[fFCd]|\xe6[SgG])",
            # A sign beside a letter with an accent: two or four bytes of Chinese.
            rb"[\xa2-\xa6\xa8\xac\xad\xaf\xb4\xb6\xb8\xbc-\xbe][\xc0-\xff]",
            rb"[\xc0-\xff][\xa2-\xa6\xa8\xac\xad\xaf\xb4\xb6\xb8\xbc-\xbe]",
            # Japanese, and Chinese in Big5: signs that begin no word before a letter, and quotes
            # that close and open where no blank is.
            rb"[\x83\x88\x98\xa5\xa6\xa8\xac\xaf\xb8][A-Za-z\xc0-\xff]",
            rb"[\x83\x86-\x88\x8b-\x8f][\x80-\x9f]|(?:\x82[\x9f-\xf1]){2}",
            rb"[\x92\x94][A-Za-z][\x91\x93]",
            # Czech: what č ě ř ů ň become stands side by side, and where Italian and French do not
            # have it: there ì and ù end words, and è goes before consonants.
            rb"[\xe8\xec\xf8\xf9\xf2][\xe1\xed\xfd\xec\x9a\x9e]|[\xec\xf9]\xf8|[\xec\xf9][a-z]",
            rb"[\xe1\xed\xfd\x9a\x9e][\xe8\xec\xf8\xf9\xf2]|[\x9a\x9e][\xe1\xed\xfd]|\xe8[aej]|e\xe8",
            # Polish: Spanish ñ goes before vowels, French œ not before these; no ó beside w.
            rb"\x9c[wrlmnpk\xe6]|\xf1(?:[bcdfgklmnprstvwz]|(?=[\s,;|)]|$))|\xf3w|w\xf3",
            # Turkish: Icelandic þ goes before vowels, French ç before a, o and u.
            rb"[a-z]\xfe(?:[bcdfgklmnpstz]|(?=[\s,;|)]|$))|[yc]\xfd|\xfd[y\xfe]|[\xfc\xe7]\xf0",
            rb"\xf0[\xfc\xfd]|\xe7[eiy\xf6\xfdlmt]",
            # Hungarian: Portuguese õ goes before e.
            rb"[a-z]\xf5(?=[\s,;|)]|$)",
        )
    )
)
_LONGEST = 4
_LONGEST_WORD = 20
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_DOUBTED_BYTES = 1 << 16
_LEAST_NULS = 0.3


class TextStream:
    """Text as UTF-8, whatever a stream holds it in.

    As long as all of it is ASCII, UTF-8 and cp1252 say the same. The first byte beyond decides
    between them, wherever in the file it stands.

    Attributes
    ----------
    encoding : str
        As far as it is known yet; ``utf-8`` where all was ASCII.
    doubtful : str
        A text that is of no language where it is read as cp1252, which nobody said that it is.

    Parameters
    ----------
    encoding : str, optional
        What the user says that it is.
    found : str, optional
        What other bytes of the same file have told already.
    line : int
        Physical line on which the stream starts.

    Raises
    ------
    InputError
        If the first bytes are of no encoding, or of two.
    UsageError
        If the user names an encoding that does not exist.
    """

    def __init__(
        self,
        stream: io.BufferedReader,
        path: str,
        encoding: str | None = None,
        *,
        found: str | None = None,
        line: int = 1,
    ) -> None:
        self._stream, self._path = stream, path
        self._decoder: codecs.IncrementalDecoder | None = None
        self._n_lines = line - 1
        self._width = 1
        self.doubtful = ""
        self._is_begun = line > 1  # a mark of the byte order stands at the start alone
        self._ahead = stream.read(SAMPLE_BYTES)
        self._is_settled = encoding is not None or found is not None
        found = found or _by_mark(self._ahead)
        self.encoding = _python_name(encoding) if encoding else found
        if found.startswith(self.encoding):  # "utf-16", and the mark says in which order
            self.encoding = found
        # What the user says is so.
        self._looks_for_utf_8 = encoding is None
        self._tail = b""
        if self.encoding in (UTF_8, UTF_8_BOM):
            self._ahead = self._ahead.removeprefix(b"" if self._is_begun else codecs.BOM_UTF8)
        else:
            self._decode_as(self.encoding)
        self._is_settled |= self.encoding != UTF_8

    def read(self, n_bytes: int) -> bytes:
        """Give about as many bytes of text in UTF-8; none at the end.

        Raises
        ------
        InputError
            Naming the line, if the bytes are not of the file's encoding.
        """
        while True:
            data, self._ahead = self._ahead or self._stream.read(n_bytes * self._width), b""
            if not self._is_settled:
                data = self._settle(data)
            text = self._decoded(data)
            if text or not data:  # a piece may hold no whole character
                return text

    @property
    def is_decoded(self) -> bool:
        """Whether the text was made UTF-8 here, so that it is sure to be."""
        return self._decoder is not None

    @property
    def is_at_end(self) -> bool:
        """Whether nothing is left."""
        return not self._ahead and not self._stream.peek(1)

    def _settle(self, data: bytes) -> bytes:
        """Choose an encoding by the first bytes beyond ASCII; give the bytes, and some more."""
        if data.isascii():
            self._n_lines += _count_lines(data)
            return data
        self._is_settled = True
        data += self._stream.read(_LONGEST)  # a character may be cut at the end of the bytes
        if tell_encoding(data, is_end=not self._stream.peek(1)) == CP1252:
            self._decode_as(CP1252)
            self.doubtful = _find_no_language(data)
        return data

    def _decode_as(self, encoding: str) -> None:
        self.encoding = encoding
        self._width = 2 if encoding.startswith("utf-16") else 1  # a block is then as much text
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def _decoded(self, data: bytes) -> bytes:
        if self._decoder is None:
            return data
        is_cp1252 = self.encoding == CP1252
        view = np.frombuffer(data if is_cp1252 else b"", dtype=np.uint8)
        beyond = view[view >= 0x80].tobytes()
        if self._looks_for_utf_8 and is_cp1252:
            self._check_for_utf_8(data, beyond)
        try:
            if is_cp1252 and not _C1.search(beyond):
                text = data.decode("latin-1")  # the same text, in half the time
            else:
                text = self._decoder.decode(data, final=not data)
            encoded = text.removeprefix("" if self._is_begun else "\ufeff").encode()
        except UnicodeDecodeError as exc:
            problem = tr("byte 0x{byte:02X} is not {name}.")
            if is_cp1252:
                problem = tr("byte 0x{byte:02X} is neither UTF-8 nor cp1252.")
            self._refuse(exc.object, exc.start, problem, name=self.encoding)
        except UnicodeError as exc:  # UTF-16 without its mark
            raise InputError(
                self._path,
                "is not {name} ({reason}).",
                name=self.encoding,
                reason=exc,
                hint=tr("Name its encoding: --encoding"),
            ) from exc
        self._is_begun = True
        self._n_lines += _count_lines(encoded)
        return encoded

    def _check_for_utf_8(self, data: bytes, beyond: bytes) -> None:
        """Refuse cp1252 text that holds what must be UTF-8, also where two pieces meet."""
        found = _UTF_8_TEXT.search(self._tail + data[:_LONGEST])
        start = max(0, found.start() - len(self._tail)) if found else None
        if start is None and _LEADS.search(beyond):
            start = _find_utf_8(data)
        if start is not None:
            problem = tr("byte 0x{byte:02X} belongs to UTF-8, and the text above is cp1252.")
            self._refuse(data, start, problem)
        self._tail = data[-_LONGEST + 1 :]

    def _refuse(self, data: bytes, start: int, problem: str, **names: str) -> NoReturn:
        before = data[:start].decode(self.encoding, errors="ignore")
        n_before = count_lines(before.encode("utf-8", "ignore"))
        raise InputError(
            self._path,
            problem.format(byte=data[start], **names),
            line=self._n_lines + n_before + 1,
            hint=tr("If it is text, save it in one encoding, or name it: --encoding"),
        )


def _find_no_language(data: bytes) -> str:
    """Give the first word of cp1252 text that is of no language; empty where there is none."""
    first = _BEYOND_ASCII.search(data)
    start = max(0, first.start() - _LONGEST_WORD) if first else len(data)
    text = data[start : start + _DOUBTED_BYTES]
    found = _NO_LANGUAGE.search(text)
    if found is None:
        return ""
    shown = text.decode(CP1252, "replace")
    before = re.split(r"[\s,;|\"]", shown[: found.start()])[-1][-_LONGEST_WORD:]
    after = re.match(r"[\s,;|]?[^\s,;|\"]*", shown[found.start() :][:_LONGEST_WORD])
    return (before + (after[0] if after else "")).strip(" ,;|\t\r\n")


def tell_encoding(data: bytes, *, is_end: bool = True) -> str:
    """Choose between UTF-8 and cp1252 for bytes that are not all ASCII.

    Parameters
    ----------
    is_end : bool
        Whether their last character must be whole.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=is_end)
    except UnicodeDecodeError:
        # Where some of it is UTF-8, let that be read: the line that is not will be named.
        return CP1252 if _find_utf_8(data) is None else UTF_8
    return UTF_8


def _by_mark(start: bytes) -> str:
    """Tell the encoding by a byte order mark, or by the NULs of UTF-16 without one."""
    if start.startswith(codecs.BOM_UTF8):
        return UTF_8_BOM
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    pairs = np.frombuffer(start[: len(start) // 2 * 2], dtype=np.uint8).reshape(-1, 2)
    if not pairs.size or pairs.all():
        return UTF_8
    even, odd = (pairs == 0).mean(axis=0)
    # ASCII in UTF-16: every second byte is NUL, and the others are not.
    if odd > _LEAST_NULS and not even:
        return "utf-16-le"
    return "utf-16-be" if even > _LEAST_NULS and not odd else UTF_8


def _python_name(encoding: str) -> str:
    try:
        if "ph,7\n".encode(encoding, "ignore").decode(encoding, "ignore") != "ph,7\n":
            raise LookupError(encoding)
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError) as exc:
        raise UsageError(
            "--encoding {encoding}: no such encoding.",
            tr("Known ones are utf-8, cp1252, utf-16, iso8859-15, …"),
            encoding=encoding,
        ) from exc
    return {"utf-8-sig": UTF_8_BOM}.get(name, name)


def _find_utf_8(data: bytes) -> int | None:
    """Find where cp1252 text holds what must be UTF-8; quick where nearly all is ASCII."""
    view = np.frombuffer(data, dtype=np.uint8)
    leads = np.flatnonzero(view[:-1] >= _LEAST_LEAD)
    if not np.any(view[leads + 1] & 0xC0 == 0x80):
        return None
    found = _UTF_8_TEXT.search(data)
    return found.start() if found else None


def _count_lines(data: bytes) -> int:
    """Count LF, or CR where there is no LF: blocks are counted exactly, and once is enough."""
    view = np.frombuffer(data, dtype=np.uint8)
    return int(np.count_nonzero(view == ord("\n"))) or data.count(b"\r")
