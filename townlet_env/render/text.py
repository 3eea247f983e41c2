"""A town as text, for terminals and logs: two characters per cell, plain ASCII."""

from __future__ import annotations

from townlet_env.render.ground import Ground
from townlet_env.render.labels import kind_codes, short_labels
from townlet_env.render.scene import ObjectSight, ResidentSight, Scene, plain
from townlet_env.sim.ids import NEED_NAMES, NONE

GROUND = {
    Ground.ROOM: " .",
    Ground.GRASS: " ,",
    Ground.STREET: " =",
    Ground.WALL: "##",
    Ground.TREE: "^^",
    Ground.WATER: "~~",
}
BAR = 10  # characters of a full needs bar


def draw_text(scene: Scene) -> str:
    """Return the town as lines: clock and utilities, map, residents, objects, events.

    On the map ``##`` is wall, ``.`` floor, ``,`` grass, ``=`` street, ``^^`` a tree and ``~~``
    water; objects are two small letters of their kind, residents begin with a capital letter.
    """
    names = short_labels([resident.name for resident in scene.residents], limit=2)
    labels = {r.slot: label for r, label in zip(scene.residents, names, strict=True)}
    codes = kind_codes(scene.kinds)
    lines = [_head(scene), _town(scene), "", *_map(scene, labels, codes), ""]
    width = max((len(resident.name) for resident in scene.residents), default=0)
    lines += [_resident(resident, labels, width) for resident in scene.residents]
    lines += ["", *(_object(thing, labels, codes) for thing in scene.objects)]
    if scene.news:
        lines += ["", *scene.news]
    return "\n".join(line.rstrip() for line in lines)


def _head(scene: Scene) -> str:
    return (
        f"{plain(scene.title)}  day {scene.day} {scene.clock}  tick {scene.tick}/{scene.last_tick}"
    )


def _town(scene: Scene) -> str:
    power, water = ("on" if there else "OFF" for there in (scene.power, scene.water))
    prices = f"meal {scene.price_meal:.2f}  groceries {scene.price_groceries:.2f}"
    return f"{prices}  power {power}  water {water}"


def _map(scene: Scene, labels: dict[int, str], codes: tuple[str, ...]) -> list[str]:
    cells = [[GROUND[code] for code in row] for row in scene.ground.tolist()]
    for thing in scene.objects:
        cells[thing.y][thing.x] = codes[thing.kind_index]
    for resident in scene.residents:
        cells[resident.y][resident.x] = labels[resident.slot].ljust(2)
    return ["".join(row) for row in cells]


def _resident(resident: ResidentSight, labels: dict[int, str], width: int) -> str:
    bars = "  ".join(
        f"{name} {_bar(need)}" for name, need in zip(NEED_NAMES, resident.needs, strict=True)
    )
    progress = f" {resident.progress:.0%}" if resident.progress >= 0.0 else ""
    shift = f", shift {plain(resident.shift)}" if resident.shift else ""
    return (
        f"{labels[resident.slot]:<2} {resident.name:<{width}}  {bars}  "
        f"{resident.wallet:5.2f} meals  {resident.doing}{progress}{shift}"
    )


def _bar(need: float) -> str:
    full = round(need * BAR)
    return f"[{'=' * full}{'.' * (BAR - full)}]"


def _object(thing: ObjectSight, labels: dict[int, str], codes: tuple[str, ...]) -> str:
    words = [f"{codes[thing.kind_index]} {thing.name}"]
    if thing.stocked:
        words.append(f"stock {thing.stock}")
    if not thing.works:
        words.append("out of order")
    if thing.meeting:
        words.append("meeting point")
    if thing.user != NONE:
        words.append(f"used by {labels[thing.user].strip()}")
    if thing.holder != NONE:
        words.append(f"kept for {labels[thing.holder].strip()}")
    if thing.queue:
        words.append(f"line {' '.join(labels[slot].strip() for slot in thing.queue)}")
    return "  ".join(words)
