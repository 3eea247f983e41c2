"""Record a script, clone it, and go on with PPO from there.

python examples/clone_then_improve.py
"""

from pathlib import Path

import torch

from townlet_env.config.load import load_scenario
from townlet_replay import ReplayDataset, ReplayDatasetConfig, TrainingHarness
from townlet_replay.capture import CaptureSettings, capture_scenario
from townlet_replay.evaluation import evaluate, network_actor, script_actor
from townlet_replay.training.config import TrainConfig

EVALUATION = range(1_000_000, 1_000_008)  # seeds that nothing here trains on


def main(
    out: Path = Path("captures/noisy_script"), episodes: int = 16, live_steps: int = 20_000
) -> dict[str, float]:
    """Return mean returns by who played."""
    scenario = load_scenario("employment_punctuality")
    # Some noise shows the learner what to do off the script's path; it clones what was meant.
    settings = CaptureSettings(episodes=episodes, epsilon=0.1, seed=100, overwrite=True)
    capture_scenario(scenario, out, settings)
    dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(out, batch_size=8))

    harness = TrainingHarness(TrainConfig(scenario=scenario.name, seed=1))
    cloning = harness.run_bc(dataset).cloning
    print(f"agreement with the script: {cloning.epochs[cloning.best_epoch - 1].agreement:.0%}")

    def score() -> float:
        actor = network_actor(harness.network, seed=0, greedy=False)
        return evaluate(scenario, actor, EVALUATION).mean

    scores = {
        "random": evaluate(scenario, script_actor(scenario, "random"), EVALUATION).mean,
        "cloned": score(),
    }
    harness.run_live(live_steps)
    scores["cloned, then live PPO"] = score()
    scores["script"] = evaluate(scenario, script_actor(scenario), EVALUATION).mean
    for who, mean in scores.items():
        print(f"{mean:8.3f}  {who}")
    return scores


if __name__ == "__main__":
    torch.set_num_threads(1)  # faster for networks this small, and the same bits every time
    main()
