"""What happened lately, in words: the ticker under the picture."""

from __future__ import annotations

from collections import deque

from townlet_env.render.scene import plain
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.events import Event
from townlet_env.sim.ids import MINUTES_PER_DAY

LINES = 8  # kept; a drawing shows as many as it has room for

# Everyday things that the picture itself shows.
_QUIET = frozenset(
    ("move_blocked", "queue_joined", "queue_left", "reserved", "affordance_started", "shift_done")
)
_WORDS = {
    "ghost_step": "{by} squeezes past {other}",
    "queue_conflict": "{by} and {other} quarrel over {object}",
    "queue_rotated": "{by} dawdles at {object} and loses the turn",
    "courtesy": "{by} lets {other} go first at {object}",
    "affordance_failed": "{affordance} fails for {by}: a utility is gone",
    "affordance_released": "{by} breaks off: {affordance}",
    "shift_on_time": "{by} is at work in time",
    "shift_late": "{by} is late for work",
    "shift_absent": "{by} is absent from work",
    "exit": "{by} leaves town",
}
_DONE = {
    "eat_meal": "{by} has eaten",
    "eat_homemade": "{by} has eaten something homemade",
    "cook_meal": "{by} has cooked",
    "use_shower": "{by} is clean again",
    "rest_sleep": "{by} has slept",
    "buy_groceries": "{by} has bought groceries",
    "work_shift": "{by} stops working",
    "rest_bench": "{by} has rested",
}


def in_words(event: Event) -> str | None:
    """Return an event as a sentence; None if it is not worth a line."""
    if event.event in _QUIET:
        return None
    parts = {
        "by": event.by or "the town",
        "other": event.other or "somebody",
        "object": plain(event.object or "nothing"),
        "affordance": plain(event.affordance or "nothing"),
    }
    if event.event == "affordance_finished":
        default = "{by} is done: {affordance}"
        return _DONE.get(event.affordance or "", default).format(**parts)
    if event.event == "chat":
        how = "chats with" if event.value > 0.0 else "gets no answer from"
        return f"{parts['by']} {how} {parts['other']}"
    if event.event in _WORDS:
        return _WORDS[event.event].format(**parts)
    return _in_plain_words(event)


def _in_plain_words(event: Event) -> str:
    """Say an event that has no sentence of its own."""
    names = (event.other, event.object, event.affordance)
    more = ", ".join(plain(name) for name in names if name is not None)
    who = f"{event.by}: " if event.by is not None else ""
    return f"{who}{plain(event.event)}{f' ({more})' if more else ''}"


class News:
    """Remembers the last few events of one world; to be fed after every tick."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lines: deque[str] = deque(maxlen=LINES)

    @property
    def lines(self) -> tuple[str, ...]:
        """What happened lately, oldest first, each with its time of day."""
        return tuple(self._lines)

    def forget(self) -> None:
        """Begin a new episode."""
        self._lines.clear()

    def take(self, batch: WorldBatch, w: int = 0) -> None:
        """Read what the last tick of world ``w`` brought."""
        world = batch.worlds[w]
        minute = (int(world.start_minute) + int(world.tick)) % MINUTES_PER_DAY
        for event in batch.events(w):
            words = in_words(event)
            if words is not None:
                self._lines.append(f"{minute // 60:02d}:{minute % 60:02d}  {words}")
