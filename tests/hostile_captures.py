"""Captures that somebody made to harm who opens them: one place for all of them.

``CORPUS`` has, by name, what is done to a sound capture. Digests fit everywhere, as an attacker
would see to; so it is the readers' own checks that refuse.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import warnings
import zipfile

import numpy as np
from forged_captures import MANIFEST, METRICS, NPZ, SIDECAR, read_json, replace_files


def npy(array=None, *, header=None, body=None, version=b"\x01\x00"):
    """An .npy file, with any part of it forged."""
    if header is None:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, allow_pickle=False)
        return buffer.getvalue()
    text = header.encode().ljust(117) + b"\n"
    width = "<H" if version == b"\x01\x00" else "<I"
    return b"\x93NUMPY" + version + struct.pack(width, len(text)) + text + (body or b"")


def archive(members, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("it-ran",)


OBJECT = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"


F4 = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"


GOOD = ("rewards.npy", npy(np.zeros(3, np.float32)))


NPZ_FILES = {
    "empty": b"",
    "no zip": b"PK but not really" * 9,
    "text": b"{}",
    "a bare npy": npy(np.zeros(3)),
    # As NumPy writes an array of objects: the header, then a pickle.
    "pickled object": archive([("rewards.npy", npy(header=OBJECT, body=pickle.dumps(Bomb())))]),
    "a pickle as a member": archive([("rewards.npy", pickle.dumps(Bomb()))]),
    "strings": archive([("rewards.npy", npy(np.array(["a"])))]),
    "bytes": archive([("rewards.npy", npy(np.array([b"a"])))]),
    "dates": archive([("rewards.npy", npy(np.array(["2020-01-01"], "M8[D]")))]),
    "records": archive([("rewards.npy", npy(np.zeros(2, [("a", "f4")])))]),
    "complex": archive([("rewards.npy", npy(np.zeros(2, complex)))]),
    "long doubles": archive([("rewards.npy", npy(np.zeros(2, np.longdouble)))]),
    "no such float": archive(
        [("rewards.npy", npy(header=F4.replace("<f4", "<f3"), body=b"\0" * 9))]
    ),
    "too short": archive([("rewards.npy", npy(header=F4, body=b"\0" * 11))]),
    "too long": archive([("rewards.npy", npy(header=F4, body=b"\0" * 13))]),
    "two gigabytes in 64 bytes": archive(
        [("rewards.npy", npy(header=F4.replace("(3,)", "(500000000,)"), body=b"\0" * 64))]
    ),
    "four terabytes": archive(
        [("rewards.npy", npy(header=F4.replace("(3,)", "(1000000000000,)"), body=b"\0" * 64))]
    ),
    "a shape beyond all integers": archive(
        [("rewards.npy", npy(header=F4.replace("(3,)", "(" + "9" * 25 + ",)"), body=b""))]
    ),
    "a product beyond 64 bits": archive(
        [("rewards.npy", npy(header=F4.replace("(3,)", "(99999999999999, 99999999999999)")))]
    ),
    "a negative shape": archive([("rewards.npy", npy(header=F4.replace("3", "-3"), body=b""))]),
    "a boolean in the shape": archive(
        [("rewards.npy", npy(header=F4.replace("(3,)", "(True, 3)"), body=b"\0" * 12))]
    ),
    "nine dimensions": archive(
        [("rewards.npy", npy(header=F4.replace("(3,)", "(" + "1," * 9 + ")"), body=b"\0" * 4))]
    ),
    "code in the header": archive(
        [("rewards.npy", npy(header="__import__('os').mkdir('it-ran')"))]
    ),
    "a deep header": archive([("rewards.npy", npy(header="(" * 5000))]),
    "a long header": archive(
        [("rewards.npy", npy(header=F4 + " " * 70_000, body=b"\0" * 12, version=b"\x02\x00"))]
    ),
    "a keyword too many": archive(
        [("rewards.npy", npy(header=F4.replace("}", "'x': 1}"), body=b"\0" * 12))]
    ),
    "a version of the future": archive(
        [("rewards.npy", npy(header=F4, body=b"\0" * 12, version=b"\x03\x00"))]
    ),
    "a cut header": archive([("rewards.npy", b"\x93NUMPY\x01\x00\xff\xff{")]),
    "a cut magic": archive([("rewards.npy", b"\x93NUM")]),
    "booleans of seven": archive(
        [("rewards.npy", npy(header=F4.replace("<f4", "|b1"), body=b"\0\x07\0"))]
    ),
    "a path": archive([GOOD, ("../../evil.npy", GOOD[1])]),
    "an absolute path": archive([("/etc/evil.npy", GOOD[1])]),
    "a directory": archive([("a/b.npy", GOOD[1])]),
    "a backslash": archive([("..\\evil.npy", GOOD[1])]),
    "no array": archive([GOOD, ("run.sh", b"rm -rf")]),
    "no name": archive([(".npy", GOOD[1])]),
    "a thousand members": archive([(f"a{i}.npy", GOOD[1]) for i in range(1000)]),
    "packed by bzip2": archive([GOOD], compression=zipfile.ZIP_BZIP2),
    "packed by lzma": archive([GOOD], compression=zipfile.ZIP_LZMA),
}


JSON_FILES = {
    "empty": b"",
    "no json": b"hello",
    "cut": b'{"schema_version": "1.0"',
    "a list": b"[]",
    "a number": b"1",
    "NaN": b'{"schema_version": "1.0", "x": NaN}',
    "Infinity": b'{"schema_version": "1.0", "x": -Infinity}',
    "a double too large": b'{"schema_version": "1.0", "x": 1e999}',
    "an integer too large": b'{"schema_version": "1.0", "x": 9223372036854775808}',
    "5000 digits": b'{"schema_version": "1.0", "x": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"schema_version": "1.0", "schema_version": "1.0"}',
    "a deep key twice": b'{"schema_version": "1.0", "x": [{"a": 1, "a": 2}]}',
    "100000 brackets": b"[" * 100_000,
    "65 objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "not UTF-8": b'{"schema_version": "\xff"}',
    "UTF-16": '{"schema_version": "1.0"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"schema_version": "1.0"}',
    "a version of the future": b'{"schema_version": "2.0"}',
    "a version that is a number": b'{"schema_version": 1.0}',
    "no version": b"{}",
    "no fields": b'{"schema_version": "1.0"}',
    "pickle": pickle.dumps({"schema_version": "1.0"}),
}


PATHS = [
    "../capture/" + NPZ,
    "../../etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "a/../../" + NPZ,
    "./" + NPZ,
    "..",
    ".",
    "",
    "C:\\" + NPZ,
    "..\\" + NPZ,
    "~/" + NPZ,
    "a//b",
    NPZ + "/",
    NPZ + "\0",
    NPZ + "\n",
    "é.npz",
    "a b.npz",
    "x" * 300,
    "$HOME",
    "file:///etc/passwd",
]


def with_npz(content):
    return lambda capture: replace_files(capture, npz=content() if callable(content) else content)


def with_sidecar(content):
    return lambda capture: replace_files(capture, sidecar=content)


def with_file(name, content):
    return lambda capture: (capture / name).write_bytes(content)


def members(capture):
    with zipfile.ZipFile(capture / NPZ) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def with_members(change):
    """Change the arrays of a sample; the rest of it stays as it was."""

    def spoil(capture):
        found = members(capture)
        change(found)
        replace_files(capture, npz=archive(found.items()))

    return spoil


def with_meta(**changes):
    def spoil(capture):
        sidecar = {**read_json(capture / SIDECAR), **changes}
        replace_files(capture, sidecar=json.dumps(sidecar).encode())

    return spoil


def with_entry(**changes):
    def spoil(capture):
        manifest = read_json(capture / MANIFEST)
        manifest["samples"][0].update(changes)
        (capture / MANIFEST).write_text(json.dumps(manifest))

    return spoil


def with_manifest(change):
    def spoil(capture):
        manifest = read_json(capture / MANIFEST)
        change(manifest)
        (capture / MANIFEST).write_text(json.dumps(manifest))

    return spoil


def instead(name, make):
    """Put something that is no file in the place of one."""

    def spoil(capture):
        (capture / name).rename(capture.parent / name)
        make(capture / name, capture.parent / name)

    return spoil


def zeros(megabytes, count=1):
    """A zip bomb: members of zeros, a thousand times smaller than what they unpack to."""
    buffer = io.BytesIO()
    shape = f"({megabytes * 2**20},)"
    header = F4.replace("<f4", "|u1").replace("(3,)", shape)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(count):
            with file.open(f"a{number}.npy", "w", force_zip64=True) as member:
                member.write(npy(header=header))
                for _ in range(megabytes):
                    member.write(bytes(2**20))
    return buffer.getvalue()


def overlapping():
    """Many names in the directory of the archive, all of the same packed bytes."""
    body = bytearray(zeros(16))
    at = body.rindex(b"PK\x01\x02")
    end = body.rindex(b"PK\x05\x06")
    record, tail = bytes(body[at:end]), body[end:]
    names = [record.replace(b"a0.npy", f"{chr(98 + k)}0.npy".encode()) for k in range(20)]
    struct.pack_into("<HHI", tail, 8, 21, 21, len(record) * 21)
    zip64 = body[:at] + record + b"".join(names) + tail
    return bytes(zip64)


def twice():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a duplicate name, which is the point
        return archive([GOOD, GOOD])


def patched(data, marker, offset, form, value):
    """Overwrite a field of the last record that begins with ``marker``."""
    content = bytearray(data)
    struct.pack_into(form, content, content.rindex(marker) + offset, value)
    return bytes(content)


SMALL = archive([GOOD], compression=zipfile.ZIP_DEFLATED)
PACKED_JUNK = {
    "nothing": b"",
    "noise": bytes(range(256)),
    "a directory that is longer than the file": struct.pack("<II", 2**31, 2**31) + b"x" * 50,
    "a directory that is no JSON": struct.pack("<II", 4, 4) + b"junk",
    "a pickle": pickle.dumps(Bomb()),
}


def packed(content):
    return archive([("packed.npy", npy(np.frombuffer(content, np.uint8)))])


CORPUS = {
    **{f"npz: {name}": with_npz(content) for name, content in NPZ_FILES.items()},
    "npz: a zip bomb": with_npz(lambda: zeros(100, 4)),
    "npz: a smaller bomb": with_npz(lambda: zeros(20)),
    "npz: overlapping members": with_npz(overlapping),
    "npz: a member twice": with_npz(twice),
    "npz: a member smaller than said": with_npz(patched(SMALL, b"PK\x01\x02", 24, "<I", 9)),
    "npz: a member larger than said": with_npz(patched(SMALL, b"PK\x01\x02", 24, "<I", 999)),
    "npz: a member of gigabytes, it says": with_npz(
        patched(SMALL, b"PK\x01\x02", 24, "<I", 2**32 - 2)
    ),
    "npz: encrypted": with_npz(patched(archive([GOOD]), b"PK\x01\x02", 8, "<H", 1)),
    "npz: another checksum": with_npz(patched(SMALL, b"PK\x01\x02", 16, "<I", 7)),
    "npz: data beyond the file": with_npz(patched(SMALL, b"PK\x01\x02", 42, "<I", 2**31)),
    "npz: more members than there are": with_npz(patched(SMALL, b"PK\x05\x06", 10, "<H", 9)),
    "npz: cut": with_npz(SMALL[:-30]),
    **{f"packed: {name}": with_npz(packed(junk)) for name, junk in PACKED_JUNK.items()},
    "arrays: one is missing": with_members(lambda found: found.pop("rewards.npy")),
    "arrays: one too many": with_members(lambda found: found.update({"x.npy": GOOD[1]})),
    "arrays: of another length": with_members(lambda found: found.update({"rewards.npy": GOOD[1]})),
    "arrays: ids beyond the vocabulary": with_members(
        lambda found: found.update({"actions.npy": npy(np.full(5, 2**62))})
    ),
    "arrays: infinite values": with_members(
        lambda found: found.update({"value_preds.npy": npy(np.full(6, np.inf, np.float32))})
    ),
    **{f"sidecar: {name}": with_sidecar(content) for name, content in JSON_FILES.items()},
    "sidecar: something to run": with_meta(entry_point="os:system"),
    "sidecar: rows that are not there": with_meta(timesteps=2**40, value_pred_steps=2**40 + 1),
    "sidecar: a vocabulary that is not there": with_meta(action_dim=2**40),
    "sidecar: an id in two spellings": with_meta(action_lookup={"0": "a", "00": "b"}),
    "sidecar: tags without end": with_meta(tags=[["x"] * 9] * 9),
    "sidecar: larger than any": with_sidecar(b'{"schema_version": "1.2", "x": "' + b" " * 2**23),
    **{f"manifest: {name}": with_file(MANIFEST, content) for name, content in JSON_FILES.items()},
    "manifest: rows of nobody": with_entry(rows=2**40),
    "manifest: no rows": with_entry(rows=0),
    "manifest: an infinite return": with_file(
        MANIFEST, b'{"schema_version": "1.2", "samples": [{"return": 1e400}]}'
    ),
    "manifest: somebody else's sample": with_entry(agent_id="eve"),
    "manifest: itself as sidecar": with_entry(meta=MANIFEST),
    "manifest: a sidecar as sample": with_entry(sample=SIDECAR),
    "manifest: a sample twice": with_manifest(lambda m: m["samples"].append(m["samples"][0])),
    "manifest: no samples": with_manifest(lambda m: m["samples"].clear()),
    "manifest: something to run": with_manifest(lambda m: m.update({"__class__": "os.system"})),
    "manifest: a seal that does not fit": with_manifest(lambda m: m.update({"sha256": "0" * 64})),
    **{f"path: {path[:30]!r}": with_entry(sample=path) for path in PATHS},
    **{f"metrics: {name}": with_file(METRICS, content) for name, content in JSON_FILES.items()},
    "a link to a sample": instead(NPZ, lambda path, moved: path.symlink_to(moved)),
    "a link to a sidecar": instead(SIDECAR, lambda path, moved: path.symlink_to(moved)),
    "a link to a manifest": instead(MANIFEST, lambda path, moved: path.symlink_to(moved)),
    "a link to itself": instead(NPZ, lambda path, moved: path.symlink_to(path)),
    "a pipe": instead(NPZ, lambda path, moved: os.mkfifo(path)),
    "a directory": instead(NPZ, lambda path, moved: path.mkdir()),
    "a device": instead(NPZ, lambda path, moved: path.symlink_to("/dev/zero")),
    "a file of terabytes": instead(NPZ, lambda path, moved: sparse(path, 2**40)),
    "a manifest of gigabytes": instead(MANIFEST, lambda path, moved: sparse(path, 2**32)),
}


def sparse(path, size):
    with path.open("wb") as file:
        file.truncate(size)
