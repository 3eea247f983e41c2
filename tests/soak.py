"""Kill recorders and flip bits, many times, and count what is lost, torn or silently wrong.

``make soak`` runs it in full; the tests run a short form of it. Everything is drawn from a seed,
except for the moment at which a kill by time hits.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path, PurePosixPath

from capture_toys import Village, drive

from townlet_replay import action_writer, writer
from townlet_replay.bundle import container
from townlet_replay.errors import CaptureError
from townlet_replay.leftovers import capture_leftovers, final_name, names_in
from townlet_replay.manifest import MANIFEST_SUFFIX, METRICS_SUFFIX, load_capture
from townlet_replay.recorder import RecordReplay
from townlet_replay.recovery import recover_capture
from townlet_replay.sample import same_sample

EPISODES = 8
AGENTS = 3
MOST_SECONDS = 0.2  # until a kill by time
MOST_CALLS = 150  # until any other
KINDS = ("plain", "background", "overwrite", "bundled")
CALLS = ("fsync", "replace", "unlink")
METRICS = f"rollout_sample{METRICS_SUFFIX}"
MANIFEST = f"rollout_sample{MANIFEST_SUFFIX}"


def record(out, kind, acknowledge):
    """Record episodes and acknowledge how many are on disk."""
    env = RecordReplay(
        Village(),
        out,
        background=kind == "background",
        overwrite=kind == "overwrite",
        bundle=kind == "bundled",
    )
    for episode in range(EPISODES):
        drive(env)
        if kind == "background" and episode % 3 < 2:
            continue
        env.flush()
        acknowledge(episode + 1)
    env.close()


def watch_disk(call, torn):
    """End this process at its n-th call that changes the disk, perhaps with the file half there.

    Nothing is really synced: what a killed process wrote is there, synced or not, and it is faster.
    """
    count = 0

    def watched(name, original):
        def watch(*arguments, **options):
            nonlocal count
            count += 1
            if count == call:
                if name == "fsync" and torn:
                    half = os.fstat(arguments[0]).st_size // 2
                    with contextlib.suppress(OSError):  # a directory cannot be cut
                        os.ftruncate(arguments[0], half)
                os.kill(os.getpid(), signal.SIGKILL)
            return None if name == "fsync" else original(*arguments, **options)

        return watch

    for name in CALLS:
        setattr(os, name, watched(name, getattr(os, name)))


def child(out, kind, call, torn, pipe, recording):
    """Record until killed; never returns."""
    writer.SHORT = 9  # so that some episodes are only in the journal
    action_writer.SHORT = 3
    try:
        watch_disk(call, torn)
        recording(out, kind, lambda count: os.write(pipe, bytes([count])))
    finally:
        os._exit(0)


def killed_recording(out, kind, rng, by_time, recording=record):
    """Kill a recorder at some point; return how many episodes it had acknowledged."""
    instrumented = rng.random() >= by_time
    call = rng.randrange(1, MOST_CALLS) if instrumented else None
    torn, wait = rng.random() < 0.5, rng.random() * MOST_SECONDS
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        child(out, kind, call, torn, writing, recording)
    os.close(writing)
    acknowledged = 0
    deadline = None if instrumented else time.monotonic() + wait
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([reading], [], [], left)
        if not ready:  # its time is over; what it acknowledges until it is dead counts as well
            os.kill(process, signal.SIGKILL)
            deadline = None
            continue
        news = os.read(reading, 64)
        if not news:
            break
        acknowledged = news[-1]
    os.close(reading)
    os.waitpid(process, 0)
    return acknowledged


def contents(capture):
    """Names and digests: what a capture holds, in a form that compares to the byte."""
    return {
        (PurePosixPath(entry.sample).name, entry.sha256, entry.meta_sha256)
        for entry in capture.manifest.samples
    }


class Kills:
    """Kills recorders one after the other, and keeps count."""

    def __init__(self, folder, seed=0, by_time=0.5):
        self.folder = Path(folder)
        self.by_time = by_time  # share of kills whose moment a clock decides
        self.rng = random.Random(seed)
        self.counts = Counter()
        record(self.folder / "whole", "plain", lambda count: None)
        self.whole = contents(load_capture(self.folder / "whole"))
        with RecordReplay(Village(last=4), self.folder / "old") as env:
            for _ in range(2):
                drive(env)
        self.old = contents(load_capture(self.folder / "old"))

    def run(self, kills):
        """Kill so many times; return the counts."""
        for number in range(kills):
            kind = KINDS[number % len(KINDS)]
            out = self.folder / "out"
            shutil.rmtree(out, ignore_errors=True)
            if kind == "overwrite":
                shutil.copytree(self.folder / "old", out)
            acknowledged = killed_recording(out, kind, self.rng, self.by_time)
            self.counts["kills"] += 1
            self.counts["acknowledged"] += acknowledged
            self.check(out, kind, acknowledged)
        return self.counts

    def check(self, out, kind, acknowledged):
        """Count acknowledged episodes that are gone, and files that are read and are not whole."""
        begun = {final_name(name) for name in names_in(out)}
        begun = {name.replace(".json", ".npz") for name in begun if "_0" in name}
        if (out / MANIFEST).exists():
            self.judge(out, kind, acknowledged)
        elif kind != "overwrite":
            self.counts["lost"] += acknowledged
        if not begun:
            return
        try:
            done = recover_capture(out)
        except CaptureError:  # not one sample is whole
            self.counts["lost"] += acknowledged
            self.counts["nothing whole"] += 1
            return
        self.judge(out, kind, acknowledged)
        capture = load_capture(out)
        told = {damage.file for damage in done.lost}
        told |= {container(entry.sample) for entry in capture.manifest.samples}
        self.counts["told lost"] += len(done.lost)
        self.counts["found"] += len(done.found)
        if contents(capture) <= self.whole:
            self.counts["untold"] += len(begun - told - {entry[0] for entry in self.old})
        left = [name for name in capture_leftovers(capture) if name.startswith(".")]
        self.counts["temporary files after recovery"] += len(left)

    def judge(self, out, kind, acknowledged):
        """Read everything; compare with a recording that nobody killed."""
        try:
            capture = load_capture(out)
            samples = list(capture)
        except CaptureError:
            self.counts["torn"] += 1
            return
        if kind == "overwrite" and contents(capture) == self.old:
            self.counts["lost"] += acknowledged
            return
        # Every file was read against its digest: equal digests are equal samples.
        self.counts["torn"] += len(contents(capture) - self.whole)
        present = Counter(sample.meta.episode_id for sample in samples)
        self.counts["lost"] += sum(present[e] != AGENTS for e in range(acknowledged))


def flip_bits(folder, flips, seed=0):
    """Flip bits in the files of a capture, one at a time; return what came of it."""
    rng = random.Random(seed)
    with RecordReplay(Village(), folder) as env:
        drive(env)
    capture = load_capture(folder)
    samples, metrics = list(capture), capture.metrics
    contents = {path: path.read_bytes() for path in sorted(folder.iterdir())}
    paths = list(contents)
    counts = Counter()
    for _ in range(flips):
        (path,) = rng.choices(paths, [len(contents[path]) for path in paths])
        content = bytearray(contents[path])
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        counts[outcome(folder, path.name, capture, samples, metrics)] += 1
        path.write_bytes(contents[path])
    return counts


def outcome(folder, spoilt, capture, samples, metrics):
    """Tell what a reader gets: refused, harmless, silently different, or others gone as well."""
    try:
        found = load_capture(folder)
    except CaptureError:
        return "refused"
    parts = {
        entry.sample: (spoilt in (entry.sample, entry.meta), reading(found, index, samples[index]))
        for index, entry in enumerate(capture.manifest.samples)
    }
    parts[METRICS] = (spoilt == METRICS, lambda: found.metrics == metrics)
    refused = []
    for name, (may_fail, same) in parts.items():
        try:
            if not same():
                return "silently different"
        except CaptureError:
            if not may_fail:
                return "other samples unreadable"
            refused.append(name)
    if found.manifest != capture.manifest:
        return "silently different"
    return "refused" if refused else "harmless"


def reading(found, index, expected):
    """Return what reads a sample and compares it."""
    return lambda: same_sample(found.sample(index), expected)


NEVER = (
    "lost",
    "torn",
    "untold",
    "temporary files after recovery",
    "silently different",
    "other samples unreadable",
)


def main() -> int:
    from soak_logs import LogKills, flip_log_bits

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, seed, of_logs = Path(folder), options.seed, options.kills // 4
        counted = {
            "kills": Kills(root / "kills", seed).run(options.kills - of_logs),
            "kills of action logs": LogKills(root / "logs", seed).run(of_logs),
            "flips": flip_bits(root / "flips", options.flips, seed),
            "flips in action logs": flip_log_bits(root / "flipped", options.flips // 4, seed),
        }
    for title, counts in counted.items():
        sys.stdout.write(f"{title}: {dict(sorted(counts.items()))}\n")
    return 1 if any(counts[name] for counts in counted.values() for name in NEVER) else 0


if __name__ == "__main__":
    sys.exit(main())
