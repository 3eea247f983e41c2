"""What a schedule remembers, and what it sees."""

from crews import act, opened
from little_towns import little_town, scripted

from townlet_env.policies import Crew, Sight
from townlet_env.policies.policy import look
from townlet_env.sim.batch import WorldBatch


def test_a_schedule_goes_on_from_its_memory(tmp_path):
    steps = {"repeat": {"times": 2, "steps": [{"use": "rest_bench"}, {"go": [1, 2]}, {"wait": 2}]}}
    town = little_town(tmp_path, [scripted("ana", (5, 3), steps)], ticks=100)
    batch, crew = opened(town)
    for _ in range(17):
        act(batch, crew)
    other = Crew(town, batch.plan)
    other.set_memory(crew.get_memory(0), 0)
    twin = WorldBatch(batch.plan, 1)
    twin.set_state(batch.get_state())
    for _ in range(60):
        assert act(batch, crew) == act(twin, other)
    assert batch.digest() == twin.digest()


def test_a_single_action_that_went_out_is_not_repeated_from_memory(tmp_path):
    moves = [{"move": way} for way in ("east", "south", "west", "north", "east")]
    town = little_town(tmp_path, [scripted("ana", (4, 2), *moves)], ticks=20)
    batch, crew = opened(town)
    for _ in range(8):
        fresh = Crew(town, batch.plan)
        fresh.set_memory(crew.get_memory(0), 0)
        crew = fresh
        act(batch, crew)
    assert (batch.worlds[0].x[0], batch.worlds[0].y[0]) == (5, 2)


def test_sight_is_what_the_views_show(tmp_path):
    town = little_town(tmp_path, [scripted("ana", (4, 2), {"wait": 3})])
    batch, _ = opened(town)
    sight: Sight = look(batch, 0, 0)
    assert (sight.features == batch.views.features[0, 0]).all()
    assert sight.mask[0] == 1
