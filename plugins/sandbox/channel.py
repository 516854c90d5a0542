"""Messages with tensors between two processes that do not trust each other.

A message is one frame on a stream socket: four bytes of length (big-endian) and a JSON object
that holds the message and, for each tensor, its dtype and shape.  The tensors' bytes lie in
memory that both processes map, as much as fits in; each further piece is written once the other
side has acknowledged the one before.  Nothing is pickled, and nothing of a message is
believed: names, dtypes, shapes and sizes are checked before a byte is copied, and values are
looked at in the copy alone, which the other side cannot reach any more.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from genesys_engine.plugins.sandbox.protocol import read_json

if TYPE_CHECKING:
    from torch import Tensor

SHARED_BYTES = 16 << 20
MAX_HEADER_BYTES = 4 << 20
MAX_DEPTH = 16
MAX_TENSORS = 4096
MAX_DIMENSIONS = 16

_LENGTH = struct.Struct(">I")
_MORE, _TAKEN = b"+", b"-"
_SIZES = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
}  # fmt: skip

Span = tuple[int, int, int, int]  # tensor, first byte in it, bytes, place in the shared memory


def shared_memory() -> mmap.mmap:
    """Return memory that this process and those that it forks from now on have in common."""
    return mmap.mmap(-1, SHARED_BYTES)


class Channel:
    """One end: sends and receives messages, each a JSON object with tensors.

    Args:
        link: a connected stream socket, blocking.
        shared: what `shared_memory` gave before the processes parted.
        most_bytes: of the tensors of one message that is received; 0 means unlimited.
    """

    def __init__(self, link: socket.socket, shared: mmap.mmap, most_bytes: int = 0) -> None:
        self._link = link
        self._memory = shared
        self._most_bytes = most_bytes

    def send(self, message: Mapping[str, Any], tensors: Sequence[Tensor] = ()) -> None:
        """Send a message; tensors lose their device, their graph and their strides.

        Raises:
            TypeError, ValueError: it is not JSON, too large, or a tensor has no such dtype.
            OSError, EOFError: the other side is gone.
        """
        described = [{"dtype": _name_of(t), "shape": list(t.shape)} for t in tensors]
        body = json.dumps({"message": message, "tensors": described}, allow_nan=False).encode()
        if len(body) > MAX_HEADER_BYTES or len(tensors) > MAX_TENSORS:
            raise ValueError(f"a message of {len(body)} bytes and {len(tensors)} tensors")
        parts = [_bytes_of(tensor) for tensor in tensors]
        announced = _LENGTH.pack(len(body)) + body
        for piece in _pieces([part.numel() for part in parts], len(self._memory)):
            if announced == _MORE:
                self._expect(_TAKEN)
            for index, start, size, place in piece:
                self._bytes[place : place + size].copy_(parts[index][start : start + size])
            self._link.sendall(announced)
            announced = _MORE
        if announced != _MORE:
            self._link.sendall(announced)

    def receive(self) -> tuple[dict[str, Any], list[Tensor]]:
        """Return the next message and its tensors, which are contiguous and on the CPU.

        Raises:
            ValueError, RecursionError: it is not of the form; nothing more can be received then.
            EOFError, OSError: the other side is gone.
        """
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"a message of {length} bytes exceeds {MAX_HEADER_BYTES}")
        message, described = _checked(read_json(self._read(length), MAX_DEPTH))
        sizes = [_SIZES[dtype] * math.prod(shape) for dtype, shape in described]
        if sum(sizes) > self._most_bytes > 0:
            raise ValueError(f"tensors of {sum(sizes)} bytes exceed {self._most_bytes}")
        tensors = [_empty(dtype, shape) for dtype, shape in described]
        parts = [_bytes_of(tensor) for tensor in tensors]
        for number, piece in enumerate(_pieces(sizes, len(self._memory))):
            if number:
                self._link.sendall(_TAKEN)
                self._expect(_MORE)
            for index, start, size, place in piece:
                parts[index][start : start + size].copy_(self._bytes[place : place + size])
        return message, tensors

    def end(self) -> None:
        """Let the other side know that nothing more comes, and wait until it is gone."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)
            while self._link.recv(1 << 16):
                pass
        self._link.close()

    def close(self) -> None:
        """Let the other side know that nothing more comes."""
        self._link.close()

    @property
    def _bytes(self) -> Tensor:
        import torch

        return torch.frombuffer(self._memory, dtype=torch.uint8)

    def _expect(self, token: bytes) -> None:
        if self._read(len(token)) != token:
            raise ValueError("a piece of a tensor that nobody asked for")

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._link.recv(size - len(data))
            if not part:
                raise EOFError("the other side is gone")
            data += part
        return bytes(data)


def _pieces(sizes: Sequence[int], room: int) -> Iterator[list[Span]]:
    """Yield what goes through the shared memory at a time: as much as there is room for."""
    piece: list[Span] = []
    place = 0
    for index, size in enumerate(sizes):
        start = 0
        while start < size:
            length = min(size - start, room - place)
            piece.append((index, start, length, place))
            start, place = start + length, place + length
            if place == room:
                yield piece
                piece, place = [], 0
    if piece:
        yield piece


def _checked(header: Any) -> tuple[dict[str, Any], list[tuple[str, list[int]]]]:
    """Return the message of a header, and dtype and shape of its tensors.

    Raises:
        ValueError: it is not of this form.
    """
    if not isinstance(header, dict) or set(header) != {"message", "tensors"}:
        raise ValueError("a header without message and tensors")
    message, tensors = header["message"], header["tensors"]
    if not isinstance(message, dict) or not isinstance(tensors, list):
        raise ValueError("a message that is no object, or tensors that are no list")
    if len(tensors) > MAX_TENSORS:
        raise ValueError(f"more than {MAX_TENSORS} tensors")
    return message, [_described(each) for each in tensors]


def _described(tensor: Any) -> tuple[str, list[int]]:
    if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape"}:
        raise ValueError("a tensor without dtype and shape")
    dtype, shape = tensor["dtype"], tensor["shape"]
    if not isinstance(dtype, str) or dtype not in _SIZES:
        raise ValueError(f"a dtype that is none: {dtype!r:.40}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("a shape that is none")
    if not all(type(extent) is int and extent >= 0 for extent in shape):
        raise ValueError("a shape of other things than sizes")
    return dtype, shape


def _name_of(tensor: Tensor) -> str:
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in _SIZES:
        raise TypeError(f"a tensor of {tensor.dtype} cannot be sent")
    return name


def _empty(dtype: str, shape: list[int]) -> Tensor:
    import torch

    try:
        return torch.empty(shape, dtype=getattr(torch, dtype))
    except RuntimeError as error:
        raise ValueError(f"no memory for a tensor of the shape {shape}") from error


def _bytes_of(tensor: Tensor) -> Tensor:
    """Return the bytes (size,) of a tensor, a view where it can be one."""
    import torch

    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return plain.view(torch.uint8) if plain.numel() else torch.empty(0, dtype=torch.uint8)
