"""How large the pages of a parquet file become when they are unpacked, as their own heads say, before Arrow unpacks any.

The sizes in the file's foot are a second account of the same, which Arrow does not compare with the pages: a foot that lies lets
a short file unpack to gigabytes. Only what is needed is read here, of Thrift's compact protocol: structures of numbered fields.
"""

import struct
from dataclasses import dataclass
from typing import Any

from datadam.errors import ArtifactError

MAGIC = b"PAR1"
FOOT = 8  # bytes behind the foot: its length and the magic
DEEPEST = 32  # structures in structures
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
ROW_GROUPS, COLUMNS, META, FILE = (4, LIST), (1, LIST), (3, STRUCT), (1, BINARY)
VALUES, PACKED_CHUNK, FIRST_DATA, FIRST_NAMES = (5, I64), (7, I64), (9, I64), (11, I64)
UNPACKED, PACKED = (2, I32), (3, I32)


@dataclass
class Reader:
    """Values one after the other in `data`, from `at`. A structure becomes {(number of the field, type): value}."""

    data: bytes
    at: int

    def byte(self) -> int:
        """The next byte."""
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        """A number of seven bits a byte."""
        found = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
        raise ValueError("a number without end")

    def signed(self) -> int:
        """A number whose last bit is its sign."""
        found = self.varint()
        return (found >> 1) ^ -(found & 1)

    def value(self, kind: int, deep: int = 0) -> Any:
        """One value of this type; of texts, only that they are there."""
        if deep > DEEPEST:
            raise ValueError("structures in structures without end")
        if kind in (TRUE, FALSE, BYTE):
            return self.byte()
        if kind in (I16, I32, I64):
            return self.signed()
        if kind in (DOUBLE, BINARY):
            length = 8 if kind == DOUBLE else self.varint()
            if length > len(self.data) - self.at:
                raise ValueError("a text beyond the end")
            self.at += length
            return None
        if kind in (LIST, SET):
            head = self.byte()
            count = head >> 4 if head >> 4 < 15 else self.varint()
            return [self.value(head & 15, deep + 1) for _ in range(count)]
        if kind == MAP:
            if count := self.varint():
                kinds = self.byte()
                for _ in range(count):
                    self.value(kinds >> 4, deep + 1)
                    self.value(kinds & 15, deep + 1)
            return None
        if kind == STRUCT:
            return self.structure(deep + 1)
        raise ValueError(f"the type {kind}, which there is not")

    def structure(self, deep: int = 0) -> dict[tuple[int, int], Any]:
        """The fields up to the end of a structure."""
        found: dict[tuple[int, int], Any] = {}
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.signed()
            kind = head & 15
            found[number, kind] = None if kind in (TRUE, FALSE) else self.value(kind, deep)
        return found


def unpacked(data: bytes, most: int, what: str) -> int:
    """Bytes of all pages of a parquet file when unpacked. Raises `ArtifactError` for more than `most`, and for what is none."""
    try:
        (length,) = struct.unpack("<i", data[-FOOT:-4])
        if data[-4:] != MAGIC or not 0 < length <= len(data) - FOOT:
            raise ValueError("no foot")
        total = 0
        for group in Reader(data, len(data) - FOOT - length).structure()[ROW_GROUPS]:
            for column in group[COLUMNS]:
                for size in _pages(data, column):
                    total += size
                    if total > most:
                        raise ArtifactError(
                            f"{what} unpacks to more than {most} bytes, which a set as large as the real data would not; that "
                            "is no distilled set of theirs"
                        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise ArtifactError(f"{what} is no sound parquet file ({error}); it is truncated, damaged or something else") from error
    return total


def _pages(data: bytes, column: dict[tuple[int, int], Any]) -> list[int]:
    """Unpacked bytes of each page of a column, in one group of rows."""
    about = column[META]
    if about[VALUES] == 0:  # then there is no page, and none is read
        return []
    if FILE in column:
        raise ValueError("it names another file")
    begin, size = about[FIRST_DATA], about[PACKED_CHUNK]
    if 0 < about.get(FIRST_NAMES, 0) < begin:  # the page of what the others point to, where there is one
        begin = about[FIRST_NAMES]
    if begin < 0 or size < 0 or begin + size > len(data):
        raise ValueError("a column beyond the end")
    sizes, reader = [], Reader(data, begin)
    while reader.at < begin + size:
        head = reader.structure()
        if head[UNPACKED] < 0 or not 0 <= head[PACKED] <= len(data) - reader.at:
            raise ValueError("a page beyond the end")
        sizes.append(head[UNPACKED])
        reader.at += head[PACKED]
    return sizes
