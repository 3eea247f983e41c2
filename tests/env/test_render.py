"""Scenes, texts and words of pictures: what they say is what the state says."""

import subprocess
import sys

import numpy as np
import pytest
from render_towns import ANNA, BED, BEN, BENCH, CLEO, FRIDGE, SHOWER, STOVE, corner, line_up, use
from render_towns import opened as open_town

from townlet_env import townlet_v0
from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.errors import ConfigError, ResetNeeded
from townlet_env.render.ground import Ground, ground_of
from townlet_env.render.labels import kind_codes, short_labels
from townlet_env.render.news import LINES, News, in_words
from townlet_env.render.scene import look_at_town
from townlet_env.render.text import draw_text
from townlet_env.sim.events import Event
from townlet_env.sim.features import RADIUS
from townlet_env.sim.ids import EVENT_NAMES, NONE, Perturbation, Verb
from townlet_env.sim.places import WALL
from townlet_env.wrappers import ScriptedScenario


@pytest.fixture
def town(tmp_path):
    return corner(tmp_path)


@pytest.fixture
def batch(town):
    return open_town(town)


def grid_of(text: str) -> list[list[str]]:
    """The map in a text: cells of two characters."""
    lines = text.split("\n\n")[1].split("\n")
    width = max(map(len, lines))
    return [[line.ljust(width)[k : k + 2] for k in range(0, width, 2)] for line in lines]


@pytest.mark.parametrize("scenario", list_scenarios())
def test_text_holds_exactly_what_the_town_holds(scenario):
    env = ScriptedScenario(townlet_v0.parallel_env(scenario, render_mode="ansi"))
    env.reset(seed=3)
    for _ in range(12):
        env.step({})
    grid, plan, world = grid_of(env.render()), env.unwrapped.plan, env.unwrapped.batch.worlds[0]
    walls = (plan.grid[RADIUS:-RADIUS, RADIUS:-RADIUS] & WALL) != 0
    found = {(x, y): cell for y, row in enumerate(grid) for x, cell in enumerate(row)}
    assert {at for at, cell in found.items() if cell in ("##", "^^", "~~")} == {
        (x, y) for y, x in np.argwhere(walls).tolist()
    }
    codes = kind_codes(plan.names.kinds)
    objects = {
        (int(world.object_x[o]), int(world.object_y[o])): codes[int(world.kind[o])]
        for o in range(int(world.n_objects))
    }
    small = {at: cell for at, cell in found.items() if cell.isalpha() and cell.islower()}
    assert small == objects
    labels = short_labels(plan.names.residents, limit=2)
    residents = {
        (int(world.x[i]), int(world.y[i])): labels[i].ljust(2)
        for i in range(int(world.n_residents))
    }
    assert {at: cell for at, cell in found.items() if cell[0].isupper()} == residents


def test_text_tells_needs_doings_and_lines(town, batch):
    use(batch, BEN, SHOWER, "use_shower", 5)
    line_up(batch, SHOWER, CLEO, ANNA)
    text = draw_text(look_at_town(batch))
    lines = {line.split()[1]: line for line in text.splitlines() if line[:2] in ("A ", "B ", "C ")}
    assert [lines["anna"].count(bar) for bar in ("[=====.....]", "[========..]")] == [1, 1]
    assert "washing 75%" in lines["ben"]
    assert "1st in line for shower" in lines["cleo"]
    assert "2nd in line for shower" in lines["anna"]
    assert "sh shower  used by B  line C A" in text
    assert "fr fridge  stock 3" in text


def test_text_tells_troubles(batch):
    world = batch.worlds[0]
    world.power = 0
    world.meet_object = BENCH
    world.perturb_until[Perturbation.MEET] = 50
    world.holder[FRIDGE] = ANNA
    world.reserved_object[ANNA] = FRIDGE
    text = draw_text(look_at_town(batch))
    assert "power OFF  water on" in text
    assert "st stove  out of order" in text
    assert "be bed\n" in text
    assert "bn bench  meeting point" in text
    assert "fr fridge  stock 3  kept for A" in text
    assert "turn at fridge" in text


def test_who_has_left_is_not_there_and_newcomers_have_their_names(batch):
    world = batch.worlds[0]
    world.alive[ANNA] = 0
    world.newcomer[BEN] = 12
    scene = look_at_town(batch)
    assert [who.name for who in scene.residents] == ["newcomer_12", "cleo"]
    assert " anna " not in draw_text(scene)
    assert "N1 newcomer_12" in draw_text(scene)


@pytest.mark.parametrize(
    ("verb", "success", "words"),
    [
        (Verb.APPROACH, 1, "walking"),
        (Verb.MOVE, 1, "walking"),
        (Verb.MOVE, 0, "idle"),
        (Verb.CHAT, 0, "chatting"),
        (Verb.WAIT, 1, "idle"),
    ],
)
def test_who_is_free_does_what_the_last_order_was(batch, verb, success, words):
    world = batch.worlds[0]
    world.last_verb[ANNA], world.last_success[ANNA] = verb, success
    assert look_at_town(batch).residents[ANNA].doing == words


def test_affordances_of_ones_own_are_called_by_their_names(batch):
    use(batch, ANNA, 4, "pray", 1)
    who = look_at_town(batch).residents[ANNA]
    assert (who.doing, who.progress) == ("pray", pytest.approx(0.8))


def test_open_ended_work_has_no_progress():
    env = ScriptedScenario(townlet_v0.parallel_env("employment_punctuality", render_mode="ansi"))
    env.reset()
    for _ in range(40):
        env.step({})
    dawn, erin = look_at_town(env.unwrapped.batch).residents
    assert (dawn.doing, dawn.progress, dawn.shift) == ("working", -1.0, "on_time")
    assert erin.shift == "late"


def test_ties_are_the_stronger_direction_of_those_in_town(batch):
    world = batch.worlds[0]
    world.rivalry[ANNA, BEN], world.rivalry[BEN, ANNA] = 0.25, 0.5
    world.rivalry[CLEO, BEN] = 0.125
    world.trust[ANNA, CLEO] = -0.5
    assert look_at_town(batch).rivalries == ((ANNA, BEN, 0.5), (BEN, CLEO, 0.125))
    assert look_at_town(batch).trusts == ()
    world.alive[CLEO] = 0
    assert look_at_town(batch).rivalries == ((ANNA, BEN, 0.5),)


def test_ground_is_what_the_characters_say(town, batch):
    ground = ground_of(town)
    assert ground[0, 0] == Ground.WALL
    assert ground[2, 2] == Ground.ROOM
    assert (ground[1, 8], ground[2, 8]) == (Ground.GRASS, Ground.STREET)
    assert (ground[1, 12], ground[2, 12]) == (Ground.TREE, Ground.WATER)
    assert ground[1, 1] == Ground.ROOM  # under the fridge
    assert ground[5, 8] == Ground.GRASS  # under the bench
    bare = look_at_town(batch).ground
    assert (ground >= Ground.WALL).tolist() == (bare == Ground.WALL).tolist()


@pytest.mark.parametrize("scenario", list_scenarios())
def test_ground_and_walls_agree(scenario):
    env = townlet_v0.parallel_env(scenario)
    walls = (env.plan.grid[RADIUS:-RADIUS, RADIUS:-RADIUS] & WALL) != 0
    assert np.array_equal(ground_of(load_scenario(scenario)) >= Ground.WALL, walls)


def test_a_town_without_an_episode_is_refused():
    env = townlet_v0.parallel_env("queue_conflict", render_mode="ansi")
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.render()


def test_without_a_mode_nothing_is_drawn():
    env = townlet_v0.parallel_env("queue_conflict")
    assert env.render() is None
    env.close()


def test_labels_differ():
    assert short_labels(["anna", "ben"]) == ("A", "B")
    assert short_labels(["anna", "abe", "ben"]) == ("An", "Ab", "B")
    assert short_labels(["newcomer_1", "newcomer_12", "nora"]) == ("N1", "N12", "N")
    assert len(set(short_labels([f"resident_{k}" for k in range(64)]))) == 64
    assert kind_codes(["bed", "bench", "beach", "b"]) == ("be", "bn", "ba", "b0")


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_every_event_has_its_words(name):
    event = Event(name, 1, "ada", "ben", "bed_1", "use_shower", 1.0)
    words = in_words(event)
    if words is not None:
        assert words
        assert not set("_{}") & set(words)


def test_affordances_that_end_early_are_told():
    failed = Event("affordance_failed", 1, "ada", None, "stove_1", "cook_meal", 0.0)
    assert in_words(failed) == "ada has to stop cooking: no power or no water"
    released = failed._replace(event="affordance_released", affordance="pray_long")
    assert in_words(released) == "ada stops pray long half-way"


def test_events_nobody_has_foreseen_are_told_plainly():
    parade = Event("big_parade", 1, None, None, "town_hall", None, 0.0)
    assert in_words(parade) == "big parade (town hall)"
    assert in_words(parade._replace(by="ada", object=None)) == "ada: big parade"
    prayer = Event("affordance_finished", 1, "ada", None, "shrine", "pray_long", 0.0)
    assert in_words(prayer) == "ada is done: pray long"


def test_news_are_kept_until_newer_ones_come():
    env = ScriptedScenario(townlet_v0.parallel_env("rivalry_decay", render_mode="ansi"))
    env.reset()
    news, told = News(), []
    while env.agents:
        env.step({})
        news.take(env.unwrapped.batch)
        told += [in_words(event) for event in env.unwrapped.events()]
    said = {line.split("  ")[1].split(" (x")[0]: line for line in news.lines}
    assert 0 < len(said) <= LINES
    for words, line in said.items():
        times = told.count(words)
        assert line.endswith(f" (x{times})") == (times > 1)
    assert env.render().endswith("\n".join(news.lines))
    env.reset()
    assert not any(line in env.render() for line in news.lines)


def test_only_the_latest_news_are_kept(batch, monkeypatch):
    news = News()
    for k in range(3 * LINES):
        arrived = Event("arrived", k, f"newcomer_{k}", None, None, None, 0.0)
        monkeypatch.setattr(batch, "events", lambda w, arrived=arrived: [arrived])
        news.take(batch)
    kept = [f"12:00  newcomer_{k} comes to town" for k in range(2 * LINES, 3 * LINES)]
    assert list(news.lines) == kept


def test_text_needs_no_pygame_and_pictures_say_what_is_missing():
    code = """
import sys
from townlet_env import townlet_v0
from townlet_env.errors import ConfigError
env = townlet_v0.parallel_env("queue_conflict", render_mode="ansi")
env.reset()
env.render()
assert "pygame" not in sys.modules and "PIL" not in sys.modules
sys.modules["pygame"] = None
for mode in ("rgb_array", "human"):
    try:
        townlet_v0.parallel_env("queue_conflict", render_mode=mode)
    except ConfigError as error:
        print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    missing = (
        "pictures need pygame-ce, which is not installed; run: pip install 'townlet[render]'\n"
    )
    assert ran.stdout == 2 * missing


def test_importing_the_town_imports_no_pygame():
    code = "import townlet_env.townlet_v0, sys; print('pygame' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'rgb_array'"):
        townlet_v0.parallel_env("queue_conflict", render_mode="rgb_arrays")


def test_objects_tell_who_is_there(batch):
    use(batch, BEN, STOVE, "cook_meal", 10)
    line_up(batch, STOVE, CLEO)
    batch.worlds[0].holder[BED] = ANNA
    stove, bed = (look_at_town(batch).objects[o] for o in (STOVE, BED))
    assert (stove.user, stove.holder, stove.queue) == (BEN, NONE, (CLEO,))
    assert (bed.user, bed.holder, bed.queue) == (NONE, ANNA, ())
