"""What may lie in a model bundle: plain names, safe formats, content that is what the suffix says."""

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from smear.errors import ModelError

MAX_HEADER_BYTES = 100_000_000  # the safetensors format's own limit

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04", b"\x1f\x8b")  # pickle ≥ 2, torch.save (a zip of pickles), a gzip of either

# The part of the ONNX schema in which tensors can hide: message → field number → message. Source: onnx.proto3.
_SCHEMA: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_MAX_DEPTH = 64


def check_name(name: str) -> None:
    """Refuse anything but a plain file name with a safe suffix: no folder, no `..`, no drive, no hidden file.

    Raises:
        ModelError: always names the file.
    """
    if not _PLAIN_NAME.fullmatch(name) or ".." in name:
        raise ModelError(f"model.json: files: {name!r} is not a plain file name")
    if PurePosixPath(name).suffix not in _CHECKS:
        raise ModelError(f"{name}: only {', '.join(_CHECKS)} may be in a bundle; other formats can run code when opened")


def check_content(name: str, data: bytes) -> None:
    """Refuse a file whose bytes are not the format of its suffix; nothing is unpickled or executed to find out.

    Raises:
        ModelError: a pickle or torch archive, a damaged file, or ONNX weights that live outside the file.
    """
    if data.startswith(_PICKLE_STARTS):
        wanted = {".onnx": "ONNX", ".safetensors": "safetensors", ".json": "JSON"}[PurePosixPath(name).suffix]
        raise ModelError(f"{name}: is a pickle / torch archive, not {wanted}; export it again")
    _CHECKS[PurePosixPath(name).suffix](name, data)


def _check_onnx(name: str, data: bytes) -> None:
    try:
        fields = {number for number, _, _ in _fields(memoryview(data))}
        external = _has_external_data("model", memoryview(data), 0)
    except ValueError as error:
        raise ModelError(f"{name}: not an ONNX file ({error}); export it again") from error
    if not {1, 7} <= fields:  # ir_version and graph
        raise ModelError(f"{name}: not an ONNX file (no graph in it); export it again")
    if external:
        raise ModelError(f"{name}: keeps weights in another file; export it as one file")


def _check_safetensors(name: str, data: bytes) -> None:
    length = int.from_bytes(data[:8], "little")
    if not (len(data) > 8 and data[8:9] == b"{" and 2 <= length <= min(len(data) - 8, MAX_HEADER_BYTES)):
        raise ModelError(f"{name}: not a safetensors file; export it again")


def _check_json(name: str, data: bytes) -> None:
    if data.lstrip()[:1] not in (b"{", b"["):
        raise ModelError(f"{name}: not a JSON file; export it again")


_CHECKS: dict[str, Callable[[str, bytes], None]] = {
    ".onnx": _check_onnx,
    ".safetensors": _check_safetensors,
    ".json": _check_json,
}


def _has_external_data(message: str, data: memoryview, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    inner = _SCHEMA[message]
    for number, wire, value in _fields(data):
        if message == "tensor" and (number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0)):
            return True
        if number in inner and wire == 2 and isinstance(value, memoryview) and _has_external_data(inner[number], value, depth + 1):
            return True
    return False


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field number, wire type, value) of one protobuf message. Format: protobuf encoding, wire types 0, 1, 2 and 5."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0 or wire not in (0, 1, 2, 5):
            raise ValueError("not a protobuf message")
        if wire == 0:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        else:
            size = 8 if wire == 1 else 4
        if at + size > end:
            raise ValueError("it ends too early")
        yield number, wire, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends too early")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("not a protobuf message")
