"""Captures as an attacker would forge them, for the tests of reading."""

import json

from townlet_replay.manifest import load_capture
from townlet_replay.safe_files import sha256_of

NPZ, SIDECAR = "rollout_sample_anna_000.npz", "rollout_sample_anna_000.json"


MANIFEST, METRICS = "rollout_sample_manifest.json", "rollout_sample_metrics.json"


def read_json(path):
    """Read a document without its seal: what is written back without one is not called altered."""
    document = json.loads(path.read_text())
    document.pop("sha256", None)
    return document


def replace_files(capture, **files):
    """Put files into a capture as an attacker would: with digests that fit."""
    manifest = read_json(capture / MANIFEST)
    names = {"npz": (NPZ, "sha256"), "sidecar": (SIDECAR, "meta_sha256")}
    for kind, content in files.items():
        name, digest = names[kind]
        (capture / name).write_bytes(content)
        manifest["samples"][0][digest] = sha256_of(content)
    (capture / MANIFEST).write_text(json.dumps(manifest))


def load_all(path):
    return [sample.rows for sample in load_capture(path)]
