"""Action logs of whatever is deterministic and knows its state; anything else is refused."""

import pytest
from capture_toys import Village
from logged_towns import town

from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.wrappers import OptionActions, ScriptedScenario
from townlet_replay import RecordReplay, load_capture
from townlet_replay.deriving import Target, materialise, reobserve
from townlet_replay.errors import CaptureError
from townlet_replay.rerun_sources import open_source
from townlet_replay.sample import same_sample
from townlet_replay.verifying import verify


class Counted(Village):
    """A village that knows a hash of its state."""

    def state_digest(self):
        return f"{self.steps} {self.agents}"


class Dreaming(Counted):
    """One whose rewards come from nowhere."""

    dreams = 0

    def step(self, actions):
        observations, rewards, *rest = super().step(actions)
        Dreaming.dreams += 1
        return observations, {a: r + Dreaming.dreams for a, r in rewards.items()}, *rest


class Painted(TownletParallelEnv):
    """A town of one's own, which shows something else."""


def play_village(env, out, **settings):
    with RecordReplay(env, out, **settings) as recorder:
        for seed in (5, None, None):
            recorder.reset(seed=seed)
            while recorder.agents:
                recorder.step(dict.fromkeys(recorder.agents, recorder.unwrapped.legal()))


def test_any_environment_that_is_deterministic_and_knows_its_state(tmp_path):
    play_village(Counted(), tmp_path / "actions", mode="actions")
    source = open_source(tmp_path / "actions")
    with pytest.raises(CaptureError, match=r"give the environment that was recorded \(env=\)"):
        verify(source)
    assert verify(source, env=Counted()).mismatch is None
    found = materialise(source, Target(tmp_path / "again"), env=Counted())
    play_village(Counted(), tmp_path / "full")
    for one, other in zip(found, load_capture(tmp_path / "full"), strict=True):
        seed = one.meta.capture_metadata.seed
        assert seed is not None
        assert same_sample(
            one,
            other.__class__(
                **{
                    **vars(other),
                    "meta": other.meta.model_copy(
                        update={"capture_metadata": one.meta.capture_metadata}
                    ),
                }
            ),
        )
    with pytest.raises(CaptureError, match="not of a town"):
        reobserve(source, Target(tmp_path / "no"), variant="full")


def test_options_of_reset_are_refused(tmp_path):
    recorder = RecordReplay(Counted(), tmp_path, mode="actions")
    with pytest.raises(CaptureError, match=r"keeps no options of reset, found \['hard'\]"):
        recorder.reset(seed=1, options={"hard": True})


def test_what_happens_beside_step_is_found_by_verify(tmp_path):
    env = town(details=True)
    with RecordReplay(env, tmp_path, mode="actions") as recorder:
        recorder.reset(seed=4)
        for tick in range(12):
            if tick == 5:
                env.batch.worlds["wallet"][0, 0] += 1
            recorder.step(dict.fromkeys(recorder.agents, 0))
    found = verify(open_source(tmp_path)).mismatch
    assert (found.tick, found.field) == (6, "state")


def test_environments_that_cannot_be_lived_again_are_refused(tmp_path):
    with pytest.raises(CaptureError, match=r"Village has no state_digest\(\)"):
        RecordReplay(Village(), tmp_path, mode="actions")
    with pytest.raises(
        CaptureError,
        match="Dreaming is not deterministic: the same seed and actions gave another reward of "
        "agent 'ana' at step 1",
    ):
        RecordReplay(Dreaming(), tmp_path, mode="actions")
    with pytest.raises(CaptureError, match="needs the town itself, or ScriptedScenario around it"):
        RecordReplay(OptionActions(town()), tmp_path, mode="actions")
    own = Painted(town().config)
    for env in (own, ScriptedScenario(own)):
        with pytest.raises(CaptureError, match="found Painted, which may change what is seen"):
            RecordReplay(env, tmp_path, mode="actions")
    assert not list(tmp_path.iterdir())
