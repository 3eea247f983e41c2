"""What happened lately, in words: the ticker under the picture."""

from __future__ import annotations

from townlet_env.render.scene import DOING, plain
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.events import Event
from townlet_env.sim.ids import MINUTES_PER_DAY

LINES = 8  # kept; a drawing shows as many as it has room for

# Everyday things that the picture itself shows.
_QUIET = frozenset(
    (
        "move_blocked",
        "queue_joined",
        "queue_left",
        "reserved",
        "affordance_started",
        "shift_done",
        "rent_paid",
        "meet_over",
        "company",
    )
)
_WORDS = {
    "ghost_step": "{by} squeezes past {other}",
    "queue_conflict": "{by} and {other} quarrel over {object}",
    "queue_rotated": "{by} dawdles at {object} and loses the turn",
    "courtesy": "{by} lets {other} go first at {object}",
    "affordance_failed": "{by} has to stop {doing}: no power or no water",
    "affordance_released": "{by} stops {doing} half-way",
    "shift_on_time": "{by} is at work in time",
    "shift_late": "{by} is late for work",
    "shift_absent": "{by} is absent from work",
    "exit": "{by} leaves town",
    "fainted": "{by} faints",
    "evicted": "{by} is evicted",
    "arrived": "{by} comes to town",
    "dismissed": "{by} is dismissed",
    "rent_unpaid": "{by} cannot pay the rent",
    "restocked": "{object} is restocked",
    "price_spike": "prices rise",
    "price_spike_over": "prices are back to normal",
    "blackout": "the power fails",
    "blackout_over": "the power is back",
    "outage": "the water stops",
    "outage_over": "the water is back",
    "meet": "{by} and {other} arrange to meet at {object}",
    "met": "{by} and {other} meet at {object}",
    "meet_missed": "{by} waits for {other} in vain at {object}",
    "shared_meal": "{by} and {other} eat together",
    "helped": "{by}, seeing {other} late, lets them go first at {object}",
    "shift_taken": "{by} takes over the shift of {other}",
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
        "doing": DOING.get(event.affordance or "", plain(event.affordance or "nothing")),
    }
    if event.event == "affordance_finished":
        default = "{by} is done: {affordance}"
        return _DONE.get(event.affordance or "", default).format(**parts)
    if event.event == "chat":
        if event.value > 0.0:
            # In one order, so that an answer is no news.
            return " and ".join(sorted((parts["by"], parts["other"]))) + " chat"
        return f"{parts['by']} gets no answer from {parts['other']}"
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
    """Remembers the last few events of one world; to be fed after every tick.

    What happens again takes the place of the older line and counts how often it did.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lines: dict[str, tuple[str, int]] = {}  # words -> clock, how often; oldest first

    @property
    def lines(self) -> tuple[str, ...]:
        """What happened lately, oldest first, each with its time of day."""
        return tuple(
            f"{clock}  {words}{f' (x{times})' if times > 1 else ''}"
            for words, (clock, times) in self._lines.items()
        )

    def forget(self) -> None:
        """Begin a new episode."""
        self._lines.clear()

    def take(self, batch: WorldBatch, w: int = 0) -> None:
        """Read what the last tick of world ``w`` brought."""
        world = batch.worlds[w]
        minute = (int(world.start_minute) + int(world.tick)) % MINUTES_PER_DAY
        clock = f"{minute // 60:02d}:{minute % 60:02d}"
        for event in batch.events(w):
            words = in_words(event)
            if words is None:
                continue
            _, times = self._lines.pop(words, ("", 0))
            self._lines[words] = (clock, times + 1)
            if len(self._lines) > LINES:
                del self._lines[next(iter(self._lines))]
