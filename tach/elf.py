"""Finds what an ELF file (a program or a shared library) says of itself: where its symbols are."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

_SEGMENT = struct.Struct("=IIQQQQQQ")  # a program header
_SECTION = struct.Struct("=IIQQQQIIQQ")
_SYMBOL = struct.Struct("=IBBHQQ")
_LOADED = 1  # a segment that is mapped
_DYNAMIC_SYMBOLS = 11  # a section that is there in stripped files too


class ElfError(Exception):
    """The file is no ELF file of 64 bits."""


class ElfFile:
    """The file at `path`, of the byte order of this machine. Raises OSError and ElfError."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < 64:
                raise ElfError(f"{path} is no ELF file")
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._data[:5] != b"\x7fELF\x02":
            self._data.close()
            raise ElfError(f"{path} is no ELF file of 64 bits")
        (self._segments_at,) = struct.unpack_from("=Q", self._data, 32)
        (self._sections_at,) = struct.unpack_from("=Q", self._data, 40)
        _, self._segments, _, self._sections = struct.unpack_from("=HHHH", self._data, 54)

    def close(self) -> None:
        """Let go of the file."""
        self._data.close()

    def symbols(self, wanted: frozenset[str]) -> dict[str, int]:
        """The addresses in the file of those of the `wanted` symbols that it defines for others."""
        found: dict[str, int] = {}
        for kind, offset, size, link in self._section_headers():
            if kind == _DYNAMIC_SYMBOLS:
                _, names, _, _ = list(self._section_headers())[link]
                for at in range(offset, offset + size, _SYMBOL.size):
                    name_at, _, _, section, address, _ = _SYMBOL.unpack_from(self._data, at)
                    name = self._text(names + name_at) if section else ""
                    if name in wanted:
                        found[name] = address
        return found

    def number(self, address: int) -> int:
        """The unsigned long that the file has for that address. Raises ElfError if it has none."""
        for offset, start, size in self._loaded():
            if start <= address < start + size:
                (value,) = struct.unpack_from("=Q", self._data, offset + address - start)
                return int(value)
        raise ElfError(f"nothing at address {address:#x}")

    def first_address(self) -> int:
        """The lowest address of it that is mapped, and at which the file begins."""
        return min(start - offset for offset, start, _ in self._loaded())

    def _loaded(self) -> Iterator[tuple[int, int, int]]:
        """Of what is mapped: offset, address, size in the file."""
        for number in range(self._segments):
            at = self._segments_at + number * _SEGMENT.size
            kind, _, offset, address, _, size, _, _ = _SEGMENT.unpack_from(self._data, at)
            if kind == _LOADED:
                yield offset, address, size

    def _section_headers(self) -> Iterator[tuple[int, int, int, int]]:
        """Of each: kind, offset, size, and the number of the section that it refers to."""
        for number in range(self._sections):
            at = self._sections_at + number * _SECTION.size
            _, kind, _, _, offset, size, link, *_ = _SECTION.unpack_from(self._data, at)
            yield kind, offset, size, link

    def _text(self, at: int) -> str:
        return self._data[at : self._data.find(b"\0", at)].decode("ascii", "replace")
