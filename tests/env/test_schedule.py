"""Schedules: a step is done when it is done, and the next one starts only then."""

import pytest
from crews import act, opened
from little_towns import done, happened, little_town, scripted

from townlet_env.story import run_story


def test_go_ends_in_reach_of_the_object_or_on_the_cell(tmp_path):
    town = little_town(
        tmp_path, [scripted("ana", (8, 3), {"go": "fridge"}, {"go": [5, 2]}, {"wait": 5})], ticks=30
    )
    story = run_story(town)
    path = list(zip(story.x[:, 0].tolist(), story.y[:, 0].tolist(), strict=True))
    reached = next(t for t, cell in enumerate(path) if abs(cell[0] - 1) + abs(cell[1] - 1) == 1)
    assert reached == 8  # a shortest path: (8, 3) to (1, 2) or (2, 1)
    assert (5, 2) in path[reached:]
    assert path[-1] == (5, 2)


def test_use_walks_requests_starts_and_finishes_before_the_next_step(tmp_path):
    town = little_town(
        tmp_path, [scripted("ana", (8, 3), {"use": "use_shower"}, {"move": "south"})], ticks=60
    )
    story = run_story(town)
    actions = done(story, "ana")
    started, finished = actions.index("start:use_shower"), happened(story, "affordance_finished")
    assert finished == [started + 20]  # 20 ticks, the one of the start included
    assert actions.index("request:shower") < started
    assert set(actions[started + 1 : finished[0]]) == {"wait"}
    assert actions[finished[0]] == "move:south"  # the very next tick


def test_each_use_needs_its_own_finish(tmp_path):
    steps = {"repeat": {"times": 3, "steps": [{"use": "rest_bench"}]}}
    town = little_town(tmp_path, [scripted("ana", (5, 3), steps)], queues={"cooldown_ticks": 0})
    assert len(happened(run_story(town), "affordance_finished")) == 3


def test_a_use_of_one_tick_finishes_too(tmp_path):
    steps = {"repeat": {"times": 4, "steps": [{"use": "rest_bench"}]}}
    changes = {"rest_bench": {"ticks": 1}}
    town = little_town(
        tmp_path,
        [scripted("ana", (5, 3), steps)],
        affordances=changes,
        queues={"cooldown_ticks": 0},
    )
    story = run_story(town)
    assert len(happened(story, "affordance_finished")) == 4
    assert done(story, "ana").count("start:rest_bench") == 4


def test_use_goes_to_the_place_named_even_if_another_is_nearer(tmp_path):
    benches = [
        {"id": "near", "kind": "bench", "cell": [3, 1]},
        {"id": "far", "kind": "bench", "cell": [9, 1]},
    ]
    for target, wanted in (({"at": "far"}, "far"), ({}, "near")):
        town = little_town(
            tmp_path,
            [scripted("ana", (1, 1), {"use": "rest_bench", **target})],
            map=None,
            size=[11, 3],
            objects=benches,
            legend={},
        )
        story = run_story(town)
        places = [
            e.object for tick in story.events for e in tick if e.event == "affordance_finished"
        ]
        assert places == [wanted]


def test_use_goes_to_the_fridge_that_holds_a_meal(tmp_path):
    fridges = [
        {"id": "empty", "kind": "fridge", "cell": [3, 1]},
        {"id": "full", "kind": "fridge", "cell": [9, 1], "stock": 1},
    ]
    town = little_town(
        tmp_path,
        [scripted("ana", (1, 1), {"use": "eat_meal"})],
        map=None,
        size=[11, 3],
        objects=fridges,
        legend={},
    )
    places = [e.object for tick in run_story(town).events for e in tick if e.event == "reserved"]
    assert places == ["full"]


def test_use_waits_in_line_without_pushing_and_takes_its_turn(tmp_path):
    town = little_town(
        tmp_path,
        [
            scripted("ana", (6, 2), {"use": "use_shower"}, {"go": [1, 3]}),
            scripted("bo", (4, 3), {"use": "use_shower"}),
        ],
    )
    story = run_story(town)
    assert happened(story, "affordance_finished", "ana") < happened(
        story, "affordance_finished", "bo"
    )
    assert len(happened(story, "queue_conflict", "bo")) == 1  # one request, one conflict
    assert not happened(story, "ghost_step")
    assert not happened(story, "queue_rotated")


def test_who_waits_in_a_corridor_does_not_push_those_in_front(tmp_path):
    town = little_town(
        tmp_path,
        [
            scripted("a", (2, 1), {"use": "use_shower"}),
            scripted("b", (3, 1), {"wait": 2}, {"use": "use_shower"}),
            scripted("c", (4, 1), {"wait": 4}, {"use": "use_shower"}),
        ],
        map="#######\n#H....#\n#######\n",
        legend={"H": "shower"},
    )
    story = run_story(town)
    first = happened(story, "affordance_finished", "a")[0]
    swaps = happened(story, "ghost_step") + happened(story, "move_blocked")
    assert all(tick > first for tick in swaps)
    assert len(happened(story, "affordance_finished")) == 3  # who stands in the way is swapped then


def test_use_asks_again_after_it_lost_its_place(tmp_path):
    town = little_town(tmp_path, [scripted("ana", (6, 2), {"use": "use_shower"})], ticks=60)
    batch, crew = opened(town)
    for tick in range(60):
        act(batch, crew)
        if tick == 0:  # somebody else let the reservation lapse
            world = batch.worlds[0]
            shower = batch.plan.names.objects.index("shower")
            assert world.reserved_object[0] == shower
            world.reserved_object[0] = world.holder[shower] = -1
    assert batch.worlds[0].needs[0, 1] > 0.9  # she washed after all


def test_use_gives_up_only_while_it_has_not_started(tmp_path):
    town = little_town(
        tmp_path,
        [
            scripted("ana", (6, 2), {"use": "use_shower", "give_up_after": 5}, {"go": [8, 2]}),
            scripted("bo", (4, 3), {"use": "use_shower", "give_up_after": 5}, {"go": [2, 3]}),
        ],
    )
    story = run_story(town)
    assert len(happened(story, "affordance_finished", "ana")) == 1
    assert not happened(story, "affordance_started", "bo")
    left = happened(story, "queue_left", "bo")
    assert left == [6]
    assert (story.x[-1, 1], story.y[-1, 1]) == (2, 3)


def test_a_use_that_can_never_be_paid_waits_and_blocks_nobody(tmp_path):
    town = little_town(
        tmp_path,
        [
            scripted("ana", (2, 2), {"use": "eat_meal"}, wallet=0.5),
            scripted("bo", (4, 3), {"use": "eat_meal"}),
        ],
    )
    story = run_story(town)
    assert not happened(story, "reserved", "ana")
    assert len(happened(story, "affordance_finished", "bo")) == 1


def test_a_walk_leads_around_somebody_busy(tmp_path):
    # bo cooks in the way of ana, for 25 ticks.
    street = "#########\n#...S..F#\n#.......#\n#.......#\n#########\n"
    town = little_town(
        tmp_path,
        [
            scripted("bo", (4, 2), {"use": "cook_meal"}, inventory={"ingredients": 1}),
            scripted("ana", (1, 2), {"wait": 4}, {"use": "eat_meal"}),
        ],
        map=street,
        legend={"S": "stove", "F": "fridge"},
    )
    story = run_story(town)
    assert not happened(story, "move_blocked")
    assert happened(story, "affordance_started", "ana")[0] < 15


def test_work_is_on_time_lasts_until_its_tick_and_comes_back_after_an_interruption(tmp_path):
    job = {"clerk": {"object": "counter", "start": 490, "end": 560}}
    town = little_town(
        tmp_path,
        [scripted("ana", (4, 2), {"work": {"until": 60}}, {"go": [4, 2]}, job="clerk")],
        jobs=job,
        start_minute=480,
        ticks=80,
    )
    story = run_story(town)
    assert happened(story, "shift_on_time") == [11]  # the first tick of the shift
    assert happened(story, "affordance_finished") == [61]  # let go at tick 60, and not before
    assert done(story, "ana")[60] == "release"
    batch, crew = opened(town)
    for tick in range(60):
        act(batch, crew, {} if tick != 30 else {0: "release"})
    assert batch.worlds[0].shift_worked[0] == 60 - 10 - 2  # out while released and while asking
    assert batch.worlds[0].busy_affordance[0] >= 0


@pytest.mark.parametrize(
    ("step", "action"),
    [
        ({"request": "shower"}, "request:shower"),
        ({"move": "south"}, "move:south"),
        ({"chat": "bo"}, "chat"),
    ],
)
def test_a_single_action_is_issued_once(tmp_path, step, action):
    town = little_town(
        tmp_path,
        [
            scripted("ana", (6, 2), step, {"wait": 50}),
            {"id": "bo", "cell": [5, 2], "policy": "idle"},
        ],
        ticks=20,
    )
    actions = done(run_story(town), "ana")
    assert actions[0] == action
    assert set(actions[1:]) == {"wait"}


def test_request_start_and_release_wait_until_they_are_legal(tmp_path):
    town = little_town(
        tmp_path,
        [
            scripted(
                "ana",
                (1, 3),
                {"go": "bench"},
                {"request": "bench"},
                {"wait": {"for": "turn"}},
                {"start": "rest_bench"},
                {"wait": 3},
                "release",
                {"move": "north"},
            )
        ],
    )
    story = run_story(town)
    actions = [action for action in done(story, "ana") if action != "wait"]
    walk = [action for action in actions[:-4] if action.startswith("move:")]
    assert actions == [*walk, "request:bench", "start:rest_bench", "release", "move:north"]
    assert len(happened(story, "affordance_released")) == 1
    assert not story.illegal.any()


def test_an_issued_action_that_noise_replaced_is_issued_again(tmp_path):
    town = little_town(tmp_path, [scripted("ana", (6, 2), {"request": "shower"}, {"wait": 9})])
    batch, crew = opened(town)
    act(batch, crew, {0: "wait"})  # noise
    assert batch.worlds[0].reserved_object[0] == -1
    act(batch, crew)
    assert batch.worlds[0].reserved_object[0] != -1


@pytest.mark.parametrize(("wait", "moves_at"), [(7, 7), ({"until": 12}, 12)])
def test_wait_lasts_its_ticks_or_until_its_tick(tmp_path, wait, moves_at):
    town = little_town(tmp_path, [scripted("ana", (4, 2), {"wait": wait}, {"move": "east"})])
    assert done(run_story(town), "ana").index("move:east") == moves_at


def test_wait_until_a_tick_that_is_past_takes_no_time(tmp_path):
    steps = [{"wait": 9}, {"wait": {"until": 3}}, {"move": "east"}]
    town = little_town(tmp_path, [scripted("ana", (4, 2), *steps)])
    assert done(run_story(town), "ana").index("move:east") == 9


def test_wait_for_a_meal_a_shift_and_its_end(tmp_path):
    job = {"clerk": {"object": "counter", "start": 490, "end": 500}}
    steps = [
        {"wait": {"for": "shift"}},
        {"move": "east"},
        {"wait": {"for": "shift_over"}},
        {"move": "west"},
        {"wait": {"for": "meal_ready"}},
        {"move": "south"},
    ]
    cook = scripted("bo", (3, 2), {"wait": 40}, {"use": "cook_meal"}, inventory={"ingredients": 1})
    town = little_town(
        tmp_path,
        [scripted("ana", (5, 2), *steps, job="clerk"), cook],
        jobs=job,
        start_minute=480,
        objects=[
            {"id": "counter", "kind": "counter"},
            {"id": "stove", "kind": "stove"},
            {"id": "fridge", "kind": "fridge"},
        ],
        legend={"C": "counter", "S": "stove", "F": "fridge"} | dict.fromkeys("HTBbA", "floor"),
    )
    story = run_story(town)
    actions = done(story, "ana")
    assert actions.index("move:east") == 10
    # A shift nobody came to is over with the first tick after its window.
    assert actions.index("move:west") == 21
    assert actions.index("move:south") == happened(story, "affordance_finished", "bo")[0]


def test_repeat_does_its_steps_so_often_also_in_each_other(tmp_path):
    inner = {"repeat": {"times": 2, "steps": [{"move": "east"}]}}
    outer = {"repeat": {"times": 2, "steps": [inner, {"move": "west"}]}}
    town = little_town(tmp_path, [scripted("ana", (3, 2), outer)], ticks=20)
    moves = [action.removeprefix("move:")[0] for action in done(run_story(town), "ana")[:6]]
    assert "".join(moves) == "eeweew"


def test_a_repeat_that_takes_no_time_does_not_hang(tmp_path):
    nothing = {"go": [3, 2]}
    for _ in range(4):
        nothing = {"repeat": {"times": 100_000, "steps": [nothing]}}
    town = little_town(tmp_path, [scripted("ana", (3, 2), nothing, {"move": "east"})], ticks=5)
    assert done(run_story(town), "ana")[0] == "move:east"


def test_after_the_last_step_the_policy_of_then_takes_over(tmp_path):
    idle = little_town(tmp_path, [scripted("ana", (4, 2), {"wait": 3})], ticks=40)
    assert set(done(run_story(idle), "ana")) == {"wait"}
    chance = little_town(tmp_path, [scripted("ana", (4, 2), {"wait": 3}, then="random")], ticks=40)
    actions = done(run_story(chance), "ana")
    assert set(actions[:3]) == {"wait"}
    assert len(set(actions[3:])) > 4


def test_nothing_illegal_is_ever_ordered(tmp_path):
    steps = [
        {"use": "buy_groceries"},
        {"use": "cook_meal"},
        {"use": "eat_meal"},
        {"use": "rest_sleep"},
    ]
    town = little_town(
        tmp_path,
        [scripted(name, (2 + k, 3), *steps) for k, name in enumerate(("ana", "bo", "cy"))],
        ticks=400,
    )
    story = run_story(town)
    assert not story.illegal.any()
    assert len(happened(story, "affordance_finished")) == 12
