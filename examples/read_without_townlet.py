"""Read a capture of mode `full` with NumPy and the standard library alone.

Written from docs/CAPTURE_FORMAT.md: whoever cannot install Townlet begins with this.
"""

import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SEAL = re.compile(rb',\n"sha256": "([0-9a-f]{64})"\n}\n\Z')


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def document(data: bytes) -> dict:
    """Check the seal of a JSON document, where it has one, and parse it."""
    seal = SEAL.search(data)
    if seal and sha256(data[: seal.start()]) != seal[1].decode():
        raise ValueError("the document was altered")
    return json.loads(data)


def content(directory: Path, path: str) -> bytes:
    """Return a file, which may be in a bundle."""
    bundle, slash, name = path.partition("/")
    if slash and bundle.endswith(".zip"):
        with zipfile.ZipFile(directory / bundle) as archive:
            return archive.read(name)
    return (directory / path).read_bytes()


def entries(manifest: Path) -> Iterator[dict]:
    """Yield the entries of a manifest, then those that only its journal has so far."""
    listed = document(manifest.read_bytes())["samples"]
    yield from listed
    journal = manifest.with_name(manifest.name.replace("_manifest.json", "_journal.ndjson"))
    count = len(listed)
    for line in journal.read_bytes().split(b"\n")[:-1] if journal.exists() else ():
        digest, _, body = line.partition(b" ")
        if sha256(body) != digest.decode():
            raise ValueError("a line of the journal was altered")
        added = json.loads(body)
        if added["after"] == count:  # else the manifest has it by now
            yield from added["samples"]
            count += len(added["samples"])


def read(directory: Path) -> Iterator[tuple[dict, dict]]:
    """Yield sidecar and arrays of every sample."""
    (manifest,) = directory.glob("*_manifest.json")
    for entry in entries(manifest):
        meta, arrays = (content(directory, entry[key]) for key in ("meta", "sample"))
        if (sha256(meta), sha256(arrays)) != (entry["meta_sha256"], entry["sha256"]):
            raise ValueError(f"{entry['sample']} was altered")
        sidecar = document(meta)
        version, mode = sidecar["schema_version"], sidecar.get("mode", "full")
        if version not in ("1.0", "1.1", "1.2") or mode != "full":
            raise ValueError(f"{entry['sample']}: not a version or mode that this reads")
        with np.load(io.BytesIO(arrays), allow_pickle=False) as found:
            yield sidecar, dict(found)


if __name__ == "__main__":
    for sidecar, arrays in read(Path(sys.argv[1])):
        rewards = arrays["rewards"]
        print(sidecar["agent_id"], sidecar["episode_id"], len(rewards), rewards.sum())
