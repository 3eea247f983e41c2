"""One module per group of measurements; each has ``measure(report)``."""

GROUPS = {
    "core": "the batch core against its plain-Python twin and other towns",
    "views": "every view against those of others",
    "scripted": "scripted residents, at once and one by one",
    "recording": "what recording costs",
    "logs": "action logs of a batch, and living again beside reading",
    "loading": "reading rows in several formats",
    "encoding": "arrays deflated, and the files made of them",
    "packing": "arrays packed and unpacked in memory",
    "episodes": "what an episode costs when there are many",
    "learners": "native PPO against Stable-Baselines3",
    "scaling": "worlds, residents and maps",
    "neighbour": "two cores, and a busy neighbour",
    "threads": "Python's threads and Numba's, and a busy neighbour",
    "start": "a new process: the first step, and memory",
    "scale": "two points of each curve of docs/SCALE.md",
}
