"""Pixels: each thing of the state has its pixels, and only those."""

import numpy as np
import pytest
from render_towns import (
    ANNA,
    BED,
    BEN,
    BENCH,
    CLEO,
    FRIDGE,
    SHOWER,
    SHRINE,
    STOVE,
    changed,
    corner,
    count,
    hall,
    line_up,
    part,
    use,
)
from render_towns import opened as open_town

from townlet_env import townlet_v0
from townlet_env.config.load import list_scenarios
from townlet_env.errors import ConfigError
from townlet_env.render.daylight import light_in_rooms, light_outside, orbit
from townlet_env.render.geometry import MIN_CELL, lay_out_picture
from townlet_env.render.palette import (
    DANGER,
    FLOORS,
    NEEDS,
    kind_colour,
    token_colour,
)
from townlet_env.render.panel import FULL, ROOMY, SHORT, TINY, rows_that_fit
from townlet_env.render.picture import Painter
from townlet_env.render.renderer import draw_world
from townlet_env.render.scene import look_at_town
from townlet_env.render.tokens import bar_box
from townlet_env.sim.ids import Perturbation
from townlet_env.wrappers import ScriptedScenario

SHAPE = (7, 14)
PICTURE = lay_out_picture(SHAPE)


@pytest.fixture
def town(tmp_path):
    return corner(tmp_path)


@pytest.fixture
def batch(town):
    return open_town(town)


@pytest.fixture
def draw(town, batch):
    return lambda: draw_world(batch, config=town)


def outside(mask: np.ndarray, *boxes) -> int:
    """Changed pixels that lie in none of the boxes."""
    left = mask.copy()
    for box in boxes:
        left[box.y : box.bottom, box.x : box.right] = False
    return int(left.sum())


def object_box(batch, o):
    world = batch.worlds[0]
    return PICTURE.cell_box(int(world.object_x[o]), int(world.object_y[o]))


def test_who_moves_changes_both_cells_and_nothing_else(batch, draw):
    before = draw()
    world = batch.worlds[0]
    x, y = int(world.x[ANNA]), int(world.y[ANNA])
    world.x[ANNA] += 1
    after = draw()
    boxes = PICTURE.token_box(x, y), PICTURE.token_box(x + 1, y)
    mask = changed(before, after)
    assert all(part(mask, box).sum() > 100 for box in boxes)
    assert outside(mask, *boxes) == 0


def test_a_tick_of_a_still_town_changes_only_clock_bars_and_light(town):
    env = townlet_v0.parallel_env(town, render_mode="rgb_array")
    env.reset()
    before = env.render()
    env.step({})
    mask = changed(before, env.render())
    tokens = [PICTURE.token_box(*cell) for cell in ((1, 3), (3, 3), (7, 3))]
    sky = PICTURE.header._replace(x=PICTURE.panel.x, w=PICTURE.panel.w)
    assert part(mask, sky).any()
    assert outside(mask, PICTURE.panel, sky, PICTURE.board) == 0
    # At noon the light stands still for a minute.
    assert outside(part(mask, PICTURE.board)) == sum(int(part(mask, box).sum()) for box in tokens)


@pytest.mark.parametrize("need", [0.0, 0.25, 0.5, 0.7, 1.0])
def test_bars_are_as_long_as_needs(batch, draw, need):
    world = batch.worlds[0]
    world.needs[CLEO] = need
    picture = draw()
    box = PICTURE.token_box(int(world.x[CLEO]), int(world.y[CLEO]))
    for k, colour in enumerate(NEEDS):
        bar = bar_box(box, k)
        assert count(part(picture, bar), colour if need >= 0.2 else DANGER) == bar.h * round(
            bar.w * need
        )


def test_low_needs_are_red_beside_the_map_too(batch, draw):
    before = count(part(draw(), PICTURE.panel), DANGER)
    batch.worlds[0].needs[ANNA] = 0.15
    assert count(part(draw(), PICTURE.panel), DANGER) > before


def test_a_blackout_darkens_rooms_and_marks_what_needs_power(batch, draw):
    before = draw()
    batch.worlds[0].power = 0
    after = draw()
    room, lawn = PICTURE.cell_box(2, 4), PICTURE.cell_box(10, 4)
    for box, least in ((room, 60), (lawn, 20)):
        darker = part(before, box).astype(int) - part(after, box)
        assert darker.min() >= 0
        assert darker.max() >= least
    marks = [count(part(after, object_box(batch, o)), DANGER) for o in (STOVE, SHOWER, BED, FRIDGE)]
    assert [mark > 0 for mark in marks] == [True, True, False, False]
    assert outside(changed(before, after), PICTURE.board, PICTURE.header) == 0
    assert count(part(after, PICTURE.header), DANGER) > 0


def test_without_water_the_light_stays(batch, draw):
    before = draw()
    batch.worlds[0].water = 0
    batch.worlds[0].perturb_until[Perturbation.OUTAGE] = 30
    mask = changed(before, draw())
    assert outside(mask, object_box(batch, SHOWER), PICTURE.header) == 0
    assert part(mask, object_box(batch, SHOWER)).any()
    assert part(mask, PICTURE.header).any()


def test_rooms_are_lit_at_night_unless_the_power_is_off(batch, draw):
    def brightness(box):
        return float(part(draw(), box).mean())

    room, lawn = PICTURE.cell_box(2, 4), PICTURE.cell_box(10, 4)
    noon = brightness(room), brightness(lawn)
    assert count(part(draw(), lawn), tuple(FLOORS[1][0])) > 0
    batch.worlds[0].tick = 660  # 23:00
    night = brightness(room), brightness(lawn)
    batch.worlds[0].power = 0
    dark = brightness(room), brightness(lawn)
    assert noon[0] > night[0] > 1.5 * dark[0]
    assert noon[1] > 1.2 * night[1]


def test_rent_owed_and_minutes_left_are_told(batch, draw):
    world = batch.worlds[0]
    world.power = 0
    before = draw()
    world.rent_owed[ANNA] = 0.5
    owing = draw()
    assert outside(changed(before, owing), PICTURE.panel) == 0
    assert count(owing, DANGER) > count(before, DANGER)
    world.perturb_until[Perturbation.BLACKOUT] = 30
    mask = changed(owing, draw())
    assert mask.any()
    assert outside(mask, PICTURE.header) == 0


def test_prices_that_changed_are_marked(batch, draw):
    before = draw()
    batch.worlds[0].price_meal = 2.0
    after = draw()
    assert outside(changed(before, after), PICTURE.header) == 0
    assert (
        count(part(after, PICTURE.header), DANGER)
        > 0
        == count(part(before, PICTURE.header), DANGER)
    )


def test_who_is_busy_has_a_ring_and_the_object_their_colour(batch, draw):
    idle = draw()
    use(batch, BEN, STOVE, "cook_meal", 20)
    begun = draw()
    use(batch, BEN, STOVE, "cook_meal", 5)
    nearly = draw()
    world = batch.worlds[0]
    box = PICTURE.token_box(int(world.x[BEN]), int(world.y[BEN]))
    assert count(part(begun, object_box(batch, STOVE)), token_colour(BEN)) > 0
    assert count(part(idle, object_box(batch, STOVE)), token_colour(BEN)) == 0
    dark = [int((part(p, box).sum(axis=2) < 180).sum()) for p in (idle, begun, nearly)]
    assert dark[0] < dark[1] < dark[2]
    assert outside(changed(begun, nearly), box, PICTURE.panel) == 0


def test_places_in_line_are_numbered_in_order(batch, draw):
    line_up(batch, SHOWER, CLEO, ANNA)
    one = draw()
    batch.worlds[0].queue[SHOWER, :2] = (ANNA, CLEO)
    other = draw()
    world, mask = batch.worlds[0], changed(one, other)
    boxes = [PICTURE.token_box(int(world.x[i]), int(world.y[i])) for i in (ANNA, CLEO)]
    assert all(part(mask, box).any() for box in boxes)
    assert outside(mask, *boxes, PICTURE.panel) == 0


def test_who_waits_points_at_what_they_wait_for(batch, draw):
    before = draw()
    batch.worlds[0].reserved_object[CLEO] = BED
    mask = part(changed(before, draw()), PICTURE.board)
    columns = np.flatnonzero(mask.any(axis=0)) // PICTURE.cell
    assert set(columns.tolist()) >= {2, 3, 4, 5, 6}  # from cleo in the door to the bed
    assert not mask[: 3 * PICTURE.cell].any()  # which is in the south


def test_stronger_rivalry_is_a_broader_line(batch, draw):
    before, sizes = draw(), []
    for strength in (0.01, 0.1, 0.3):
        batch.worlds[0].rivalry[ANNA, BEN] = strength
        mask = changed(before, draw())
        sizes.append(int(mask.sum()))
        assert (
            outside(mask, PICTURE.cell_box(1, 3), PICTURE.cell_box(2, 3), PICTURE.cell_box(3, 3))
            == 0
        )
    assert sizes[0] == 0
    assert 0 < sizes[1] < sizes[2]


def test_trust_is_drawn_beside_rivalry(batch, draw):
    batch.worlds[0].rivalry[ANNA, BEN] = 0.3
    before = draw()
    batch.worlds[0].trust[BEN, ANNA] = 0.5
    assert part(changed(before, draw()), PICTURE.cell_box(2, 3)).any()


def test_stock_and_meeting_point_are_marked_on_the_object(batch, draw):
    world = batch.worlds[0]
    before = draw()
    world.stock[FRIDGE] = 2
    after = draw()
    assert changed(before, after).any()
    assert outside(changed(before, after), object_box(batch, FRIDGE)) == 0
    world.meet_object = BENCH
    assert not changed(after, draw()).any()  # no meet is on
    world.perturb_until[Perturbation.MEET] = 9
    met = draw()
    assert changed(after, met).any()
    assert outside(changed(after, met), object_box(batch, BENCH)) == 0


def test_every_shipped_kind_looks_different(tmp_path):
    kinds = ["fridge", "stove", "shower", "bed", "till", "counter", "desk", "bench"]
    objects = [{"id": kind, "kind": kind, "cell": [2 * k + 1, 1]} for k, kind in enumerate(kinds)]
    config = hall(tmp_path, [18, 3], objects)
    picture, geometry = draw_world(open_town(config), config=config), lay_out_picture((3, 18))
    looks = [part(picture, geometry.cell_box(2 * k + 1, 1)) for k in range(len(kinds))]
    for k, one in enumerate(looks):
        for other in looks[k + 1 :]:
            assert changed(one, other).mean() > 0.2


def test_kinds_of_ones_own_are_boxes_in_a_colour_of_their_own(batch, draw):
    kind = int(batch.worlds[0].kind[SHRINE])
    assert count(part(draw(), object_box(batch, SHRINE)), kind_colour(kind)) > 400
    assert len({kind_colour(k) for k in range(16)}) == 16
    assert len({token_colour(k) for k in range(64)}) == 64


def test_who_has_left_leaves_no_trace(batch, draw):
    world = batch.worlds[0]
    world.rivalry[ANNA, BEN] = 0.5
    box = PICTURE.token_box(int(world.x[ANNA]), int(world.y[ANNA]))
    assert count(part(draw(), box), token_colour(ANNA)) > 0
    world.alive[ANNA] = 0
    assert count(draw(), token_colour(ANNA)) == 0


@pytest.mark.parametrize("scenario", list_scenarios())
def test_every_scenario_is_drawn_and_the_same_twice(scenario):
    env = ScriptedScenario(townlet_v0.parallel_env(scenario, render_mode="rgb_array"))
    pictures = []
    for seed in (1, 2, 1):
        env.reset(seed=seed)
        for _ in range(5):
            env.step({})
        pictures.append(env.render())
    first, _, again = pictures
    assert (first.dtype, first.ndim, first.shape[2]) == (np.uint8, 3, 3)
    assert np.array_equal(first, again)
    renderer = env.unwrapped._renderer
    scene = look_at_town(
        env.unwrapped.batch, title=scenario, ground=renderer._ground, news=renderer._news.lines
    )
    assert np.array_equal(first, Painter(scene.ground.shape).pixels(scene))  # by a fresh painter
    again[:] = 0  # what was handed out is the caller's own
    assert np.array_equal(env.render(), first)


def test_any_world_of_a_batch_is_drawn(town):
    from townlet_env.config.compile import compile_plan
    from townlet_env.sim.batch import WorldBatch

    batch = WorldBatch(compile_plan(town), 3)
    batch.reset([1, 2, 3])
    batch.worlds[2].x[ANNA] += 1
    pictures = [draw_world(batch, w, config=town) for w in range(3)]
    assert np.array_equal(pictures[0], pictures[1])
    assert changed(pictures[0], pictures[2]).any()
    assert draw_world(batch, 2, size=700).shape[1] <= 700


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (7, 10), (48, 48), (20, 60), (64, 12)])
@pytest.mark.parametrize("size", [None, 640, 901, 1600])
def test_the_parts_of_a_picture_fit(shape, size):
    if size == 640 and max(shape) > 20:
        with pytest.raises(ConfigError, match=rf"expected from \d+ to 8192 .* {shape[1]} x"):
            lay_out_picture(shape, 200)
        return
    geometry = lay_out_picture(shape, size)
    assert geometry.width % 2 == geometry.height % 2 == 0
    assert size is None or max(geometry.width, geometry.height) <= size
    assert geometry.cell >= MIN_CELL
    assert (geometry.board.w, geometry.board.h) == (
        shape[1] * geometry.cell,
        shape[0] * geometry.cell,
    )
    parts = (geometry.header, geometry.board, geometry.news, geometry.panel)
    covered = np.zeros((geometry.height, geometry.width), int)
    for box in parts:
        assert box.right <= geometry.width
        assert box.bottom <= geometry.height
        covered[box.y : box.bottom, box.x : box.right] += 1
    assert covered.max() == 1


def test_a_picture_too_small_or_too_large_is_refused(town):
    env = townlet_v0.parallel_env(town, render_mode="rgb_array", render_size=100)
    env.reset()
    with pytest.raises(ConfigError, match="14 x 7 cells, found 100"):
        env.render()
    with pytest.raises(ConfigError, match="to 8192"):
        lay_out_picture(SHAPE, 10_000)


def test_many_residents_take_less_room_each():
    assert rows_that_fit(8, 60.0) == (ROOMY, 8)
    assert rows_that_fit(10, 60.0) == (FULL, 10)
    assert rows_that_fit(16, 60.0) == (SHORT, 16)
    assert rows_that_fit(40, 60.0) == (TINY, 40)
    row, shown = rows_that_fit(64, 60.0)
    assert row == TINY
    assert (shown + 1) * row <= 60.0


def test_crowds_are_drawn(tmp_path):
    config = hall(tmp_path, [20, 8], residents=64)
    assert draw_world(open_town(config), config=config).ndim == 3


def test_light_follows_the_day():
    noon, night = (sum(light_outside(minute, power=True)) for minute in (720, 60))
    assert noon == 3 * 255 > night
    assert sum(light_in_rooms(60, power=True)) > night > sum(light_in_rooms(60, power=False))
    assert light_outside(1439, power=True) == light_outside(0, power=True)
    assert orbit(780) == (True, 0.5)
    assert orbit(0)[0] is orbit(1439)[0] is False
    assert 0.0 <= orbit(1439)[1] <= orbit(0)[1] <= 1.0
