"""Capturing episodes of a scenario: scripted, noisy, or played by a policy network."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from townlet_env.config.layout import lay_out
from townlet_env.config.load import Source, validate
from townlet_env.config.schema import ResidentConfig, TownConfig
from townlet_env.errors import ConfigError, nearest
from townlet_env.policies.crew import Crew, with_policy
from townlet_env.sim.plan import Plan
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.views.spaces import action_space, observation_space
from townlet_replay.errors import TrainingError
from townlet_replay.limits import WhenFull
from townlet_replay.manifest import Capture, load_capture
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.policy.network import ObservationSpec
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.recorder import RecordReplay
from townlet_replay.sidecar import Behaviour, CaptureMetadata, RecordMode

Watch = Callable[[int], None]


class CaptureSettings(BaseModel):
    """How much is captured, and how it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    episodes: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        None, description="the scenario's by default"
    )
    policy: str | None = Field(None, description="everybody follows this script instead")
    epsilon: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.0, description="chance of a uniformly drawn legal action instead of the script's"
    )
    agents: tuple[str, ...] | None = Field(None, description="keep only these residents' samples")
    prefix: str = "rollout_sample"
    mode: RecordMode = "full"
    compress: bool = True
    overwrite: bool = False
    max_rows_per_file: Annotated[int, Field(ge=1)] | None = Field(
        None, description="a longer life is written in pieces"
    )
    max_bytes: Annotated[int, Field(ge=1)] | None = Field(None, description="of the capture")
    when_full: WhenFull = "stop"
    bundle: bool = Field(False, description="the samples of an episode are one file")
    logits: bool = Field(True, description="keep the scores of a network behind its actions")


def capture_settings(**settings: object) -> CaptureSettings:
    """Return checked settings.

    Raises:
        ConfigError: An unknown setting or a wrong value; names it.
    """
    return validate(CaptureSettings, settings, Source("capture", {}))


class Choice(NamedTuple):
    """What the residents do in a tick, and under which behaviour."""

    actions: dict[str, int]
    log_probs: dict[str, float]
    intents: dict[str, int]


def capture_scenario(
    config: TownConfig, out: Path, settings: CaptureSettings, watch: Watch | None = None
) -> Capture:
    """Play the scripts of a scenario, record everybody, and open the capture.

    Raises:
        ConfigError: As :func:`record_scenario`.
        CaptureError: As :func:`record_scenario`, or an action log was recorded.
    """
    return load_capture(record_scenario(config, out, settings, watch))


def record_scenario(
    config: TownConfig, out: Path, settings: CaptureSettings, watch: Watch | None = None
) -> Path:
    """Play the scripts of a scenario and record everybody.

    Args:
        config: The scenario; ``config.ticks`` is the length of an episode.
        out: Directory of the capture.
        settings: How much, and how.
        watch: Called after every tick with the ticks done.

    Returns:
        The manifest, or the list of episodes of an action log.

    Raises:
        ConfigError: A resident has no script (``policy: learner``), or ``agents`` names nobody
            who lives here.
        CaptureError: The capture cannot be written.
    """
    played = config if settings.policy is None else with_policy(config, settings.policy)
    env = TownletParallelEnv(config, details=True)
    crew = Crew(played, env.plan)
    idle = [name for name in env.plan.names.residents if name not in crew.residents]
    if idle:
        raise ConfigError(
            f"{config.name}: {', '.join(idle)} follow no script; capture with a checkpoint, or "
            "give a policy that everybody follows"
        )
    seed = config.seed if settings.seed is None else settings.seed
    # Spawned, so that the noise of a capture is no stream that anything else draws from.
    noise = np.random.default_rng([seed, 0x6E6F6973])
    scripts = dict.fromkeys(env.possible_agents, played.arrivals.policy)
    scripts |= {resident.id: resident.policy for resident in played.residents}
    behaviours = {name: _behaviour(script, settings.epsilon) for name, script in scripts.items()}
    recorder = _recorder(env, out, settings, behaviour=behaviours)
    with recorder:
        for episode in range(settings.episodes):
            recorder.reset(seed=seed) if episode == 0 else recorder.reset()
            crew.reset(0)
            while recorder.agents:
                choice = _choose(env, crew, behaviours, noise)
                recorder.annotate(log_probs=choice.log_probs, intents=choice.intents)
                recorder.step(choice.actions)
                if watch is not None:
                    watch(1)
    return recorder.manifest_path


def capture_checkpoint(
    config: TownConfig,
    out: Path,
    settings: CaptureSettings,
    checkpoint: Path,
    *,
    greedy: bool = False,
    watch: Watch | None = None,
) -> Capture:
    """Let a saved network play everybody, record it, and open the capture.

    Raises:
        TrainingError: As :func:`record_checkpoint`.
        CheckpointError: As :func:`record_checkpoint`.
        CaptureError: As :func:`record_checkpoint`, or an action log was recorded.
    """
    return load_capture(
        record_checkpoint(config, out, settings, checkpoint, greedy=greedy, watch=watch)
    )


def record_checkpoint(
    config: TownConfig,
    out: Path,
    settings: CaptureSettings,
    checkpoint: Path,
    *,
    greedy: bool = False,
    watch: Watch | None = None,
) -> Path:
    """Let a saved network play everybody and record it, log-probs and values included.

    Returns:
        The manifest, or the list of episodes of an action log.

    Raises:
        TrainingError: ``policy`` or ``epsilon`` were asked for as well.
        CheckpointError: The checkpoint is damaged, or of another vocabulary or feature list.
        CaptureError: The capture cannot be written.
    """
    if settings.policy is not None or settings.epsilon > 0.0:
        raise TrainingError(
            "expected a checkpoint or a script, found both; leave out --policy and --epsilon"
        )
    env = TownletParallelEnv(config, details=True)
    spec = town_spec(env.plan)
    network = load_checkpoint(checkpoint, observation=spec).network
    seed = config.seed if settings.seed is None else settings.seed
    runtime = PolicyRuntime(network, seed=seed, greedy=greedy)
    ticks = config.ticks * settings.episodes
    return record_policy(env, runtime, out, ticks=ticks, seed=seed, settings=settings, watch=watch)


def town_spec(plan: Plan) -> ObservationSpec:
    """Return what a network sees in a town, and what it chooses from."""
    return ObservationSpec.from_spaces(
        observation_space(plan, "hybrid", with_mask=False),
        action_space(plan),
        dict(enumerate(plan.names.actions)),
        plan.names.features,
    )


def with_extra_residents(config: TownConfig, count: int) -> TownConfig:
    """Return the scenario with ``count`` more needs-driven residents on free floor cells.

    They are called ``resident_1``, ... and stand as far apart as the rows of the map allow.

    Raises:
        ConfigError: There are not enough free cells.
    """
    if count == 0:
        return config
    layout = lay_out(config)
    taken = {*layout.object_cells, *layout.resident_cells}
    rows, columns = np.nonzero(~layout.walls)
    free = [cell for cell in zip(columns.tolist(), rows.tolist(), strict=True) if cell not in taken]
    if len(free) < count:
        raise ConfigError(
            f"{config.name}: expected {count} free cells for more residents, found {len(free)}"
        )
    extra = [
        ResidentConfig(id=f"resident_{k + 1}", cell=free[k * len(free) // count])
        for k in range(count)
    ]
    return config.model_copy(update={"residents": [*config.residents, *extra]})


def _behaviour(policy: str, epsilon: float) -> Behaviour:
    """Say what a script is to a learner: certain, or a known mixture with chance."""
    if policy == "random":
        return Behaviour(kind="script_eps", epsilon=1.0)
    if epsilon > 0.0:
        return Behaviour(kind="script_eps", epsilon=epsilon)
    return Behaviour(kind="script")


def _choose(
    env: TownletParallelEnv,
    crew: Crew,
    behaviours: dict[str, Behaviour],
    noise: np.random.Generator,
) -> Choice:
    """Return the scripts' actions, with the noise of each behaviour and its exact log-prob."""
    wanted = crew.act(env.batch, 0)
    masks = env.action_masks()
    actions: dict[str, int] = {}
    log_probs: dict[str, float] = {}
    intents: dict[str, int] = {}
    for agent, slot in env.slots.items():
        epsilon = behaviours[agent].epsilon or 0.0
        legal = np.flatnonzero(masks[agent])
        actions[agent] = intents[agent] = wanted[slot]
        if epsilon == 1.0:
            log_probs[agent] = -math.log(len(legal))  # the random script has drawn already
            continue
        if epsilon > 0.0:
            if noise.random() < epsilon:
                actions[agent] = int(legal[noise.integers(len(legal))])
            kept = 1.0 - epsilon if actions[agent] == wanted[slot] else 0.0
            log_probs[agent] = math.log(kept + epsilon / len(legal))
    return Choice(actions, log_probs, intents if noise_is_on(behaviours) else {})


def noise_is_on(behaviours: dict[str, Behaviour]) -> bool:
    """Tell whether some script's choice may differ from what is done."""
    return any(0.0 < (behaviour.epsilon or 0.0) < 1.0 for behaviour in behaviours.values())


def _recorder(
    env: TownletParallelEnv, out: Path, settings: CaptureSettings, **more: Any
) -> RecordReplay:
    """Return a recorder as the settings say; nothing is written yet."""
    for name in settings.agents or ():
        if name not in env.possible_agents:
            known = nearest(name, env.possible_agents)
            raise ConfigError(f"{env.config.name}: unknown resident {name!r}{known}")
    return RecordReplay(
        env,
        out,
        mode=settings.mode,
        prefix=settings.prefix,
        agents=settings.agents,
        compress=settings.compress,
        overwrite=settings.overwrite,
        max_rows_per_file=settings.max_rows_per_file,
        max_bytes=settings.max_bytes,
        when_full=settings.when_full,
        bundle=settings.bundle,
        # The thread writes together what waits. Bundles and logs would depend on how much that was,
        # and a capture that is full would be noticed late.
        background=not (settings.mode == "actions" or settings.bundle or settings.max_bytes),
        **more,
    )


def record_policy(
    env: TownletParallelEnv,
    runtime: PolicyRuntime,
    out: Path,
    *,
    ticks: int,
    seed: int,
    version: int = 0,
    settings: CaptureSettings | None = None,
    watch: Watch | None = None,
) -> Path:
    """Let a network play everybody for ``ticks`` ticks and record log-probs, values and logits.

    Episodes follow each other; the last one is cut, and closed by the value of what is seen then.

    Args:
        env: A town with ``details=True``, so that metrics know events and components.
        runtime: The policy that acts.
        out: Directory of the capture.
        ticks: How long.
        seed: Of the first episode.
        version: Number of the policy's update, kept in every row.
        settings: How the capture is written.
        watch: Called after every tick with the ticks done.

    Returns:
        The manifest, or the list of episodes of an action log.

    Raises:
        ConfigError: ``settings.agents`` names nobody who lives here.
        CaptureError: The capture cannot be written.
    """
    settings = settings or CaptureSettings()
    behaviour = Behaviour(
        kind="policy", temperature=runtime.temperature, digest=f"sha256:{runtime.digest}"
    )
    recorder = _recorder(
        env,
        out,
        settings,
        policy=runtime,
        behaviour=behaviour,
        metadata=CaptureMetadata(policy_hash=runtime.digest, seed=seed),
    )
    with recorder:
        observations, _ = recorder.reset(seed=seed)
        for _ in range(ticks):
            if not recorder.agents:
                observations, _ = recorder.reset()
            acts = runtime.act({agent: observations[agent] for agent in recorder.agents})
            recorder.annotate(
                log_probs=acts.log_probs,
                values=acts.values,
                logits=acts.logits if settings.logits else None,
                policy_version=version,
            )
            observations, *_ = recorder.step(acts.actions)
            if watch is not None:
                watch(1)
    return recorder.manifest_path
