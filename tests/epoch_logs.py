"""Training logs made by hand."""

import json

from townlet_replay.training.telemetry import (
    EpochRecord,
)

KEYS_1 = [
    "epoch",
    "updates",
    "transitions",
    "loss_policy",
    "loss_value",
    "loss_entropy",
    "loss_total",
    "clip_fraction",
    "adv_mean",
    "adv_std",
    "grad_norm",
    "kl_divergence",
    "telemetry_version",
    "lr",
    "steps",
    "baseline_sample_count",
    "baseline_reward_mean",
    "baseline_reward_sum",
    "baseline_reward_sum_mean",
    "baseline_log_prob_mean",
    "conflict.rivalry_max_mean_avg",
    "conflict.rivalry_max_max_avg",
    "conflict.rivalry_avoid_count_mean_avg",
    "conflict.rivalry_avoid_count_max_avg",
]


KEYS_1_1 = [
    "epoch_duration_sec",
    "data_mode",
    "cycle_id",
    "batch_entropy_mean",
    "batch_entropy_std",
    "grad_norm_max",
    "kl_divergence_max",
    "reward_advantage_corr",
    "rollout_ticks",
    "log_stream_offset",
    "queue_conflict_events",
    "queue_conflict_intensity_sum",
    "shared_meal_events",
    "late_help_events",
    "shift_takeover_events",
    "chat_success_events",
    "chat_failure_events",
    "chat_quality_mean",
]


KEYS_2 = [
    "objective",
    "biased",
    "audit",
    "epochs_completed",
    "early_stops",
    "clip_range",
    "ratio_mean",
    "ratio_max",
    "ess",
    "ess_min",
    "explained_variance",
    "explained_variance_mc",
    "value_bias",
    "value_slope",
    "entropy_normalised",
    "legal_share",
    "forced_share",
    "illegal_mass",
    "late_shift_events",
    "lateness_mean",
    "staleness_mean",
    "staleness_max",
    "collect_sec",
    "update_sec",
    "rows_per_sec",
    "agents",
]


def epoch(number, **figures):
    figures = {"loss_total": 1 / number, "cycle_id": number // 4} | figures
    return EpochRecord(
        epoch=number,
        updates=4,
        transitions=100,
        steps=100 * number,
        data_mode="replay",
        **figures,
    )


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def replace_in_line(path, number, **changes):
    """Rewrite keys of one line (counting from 1) as Python's json would."""
    keys = lines_of(path)
    for key, value in changes.items():
        if value is ...:
            del keys[number - 1][key]
        else:
            keys[number - 1][key] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in keys))
