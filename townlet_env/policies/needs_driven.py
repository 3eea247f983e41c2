"""A resident who works on shift, eats, cooks, buys, washes and sleeps when it is time.

This is the rule in plain Python: the reference. ``policies/batched.py`` decides the same for many
residents at once; tests hold one against the other.
"""

from __future__ import annotations

from typing import NamedTuple

from townlet_env.policies.errands import pursue, walk
from townlet_env.policies.kernels.judgement import (
    ARRIVAL_SLACK,
    COMFORT,
    COMFORT_LEVEL,
    CRITICAL,
    CRITICAL_LEVEL,
    DANGER,
    DIRE,
    DUTY,
    EVE,
    EVE_LEVEL,
    EVE_RESERVE,
    FAR,
    LINE,
    MARGIN,
    MEETING,
    NIGHT_ENDS,
    NIGHT_FALLS,
    NIGHT_LEVEL,
    PANTRY,
    PATIENCE,
    PROVISION,
    REST,
    SILENT,
    THRIFT,
    WORTH,
    survey,
)
from townlet_env.policies.outlook import (
    Prospect,
    Scene,
    learn,
    look_around,
    people_ahead,
    prospects,
)
from townlet_env.policies.policy import WAIT, Policy, Seat, Sight
from townlet_env.sim.ids import (
    DIRECTION_DX,
    DIRECTION_DY,
    MINUTES_PER_DAY,
    NONE,
    Need,
    ShiftState,
    Verb,
)
from townlet_env.sim.places import (
    UNREACHABLE,
    manhattan,
    minute_of_day,
    nearest_free_resident,
    nearest_in_range,
)
from townlet_env.sim.state import World


class Memory(NamedTuple):
    """The aim, so that a resident does not waver on the way."""

    affordance: int  # of the aim; NONE without one
    rank: int  # what it is for: DIRE to PROVISION; REST is no aim
    age: int  # ticks since it was chosen


NO_AIM = Memory(NONE, REST, 0)


class Now(NamedTuple):
    """What one decision is made from."""

    sight: Sight
    scene: Scene
    outlook: list[Prospect]  # by affordance
    minutes: int  # until the own shift opens, 0 while it is open; FAR without a job
    spare: int  # ticks until one must be back at work


class NeedsDriven(Policy):
    """Decides from the world as the resident finds it; remembers no more than its aim.

    What calls is asked in the order of rank: a dire need, a critical one that leaves time for work,
    work, an arranged meet, comfort, provisions. An aim is kept until it is done or cannot be done,
    or something of a higher rank calls. docs/BEHAVIOUR.md tells the rule in words.
    """

    def __init__(self, seat: Seat) -> None:
        """Take a seat and learn the catalogue and the town by heart."""
        super().__init__(seat)
        self._rules = seat.plan.rules[0]
        self._atlas = survey(seat.plan)
        self._deeds = learn(seat.plan, self._atlas)
        self._longest = max((deed.duration for deed in self._deeds), default=0)
        self._memory = NO_AIM

    def reset(self) -> None:
        """Begin a new life."""
        self._memory = NO_AIM

    def get_memory(self) -> Memory:
        """Return the aim."""
        return self._memory

    def set_memory(self, memory: Memory) -> None:
        """Go on towards an aim."""
        self._memory = memory

    def act(self, sight: Sight) -> int:
        """Return the next action towards what is wanted most."""
        world, i = sight.world, self.seat.slot
        busy = world.busy_affordance[i] != NONE
        content = float(world.needs[i].min()) >= CRITICAL_LEVEL
        if busy and (world.busy_remaining[i] > 0 or content):
            self._memory = NO_AIM  # what comes next is decided when it is over
            return WAIT
        now = self._look(sight)
        if busy:  # with open-ended work, which is left only for a need
            aim = self._called(now, NO_AIM, DUTY)
            self._memory = aim
            return WAIT if aim.rank == REST else self._atlas.release
        aim = self._called(now, self._kept(now), REST)
        self._memory = aim
        action = self._carry_out(now, aim)
        return self._chat(sight) if action == WAIT else action

    def _look(self, sight: Sight) -> Now:
        scene = look_around(self.seat, sight.world)
        minutes = self._minutes_to_work(sight.world, scene)
        spare = self._spare_ticks(sight.world, minutes)
        return Now(sight, scene, prospects(self._deeds, scene), minutes, spare)

    def _minutes_to_work(self, world: World, scene: Scene) -> int:
        i = self.seat.slot
        job = int(world.job_object[i])
        if job == NONE or scene.steps[job] >= UNREACHABLE:
            return FAR
        minute, start = int(minute_of_day(world)), int(world.job_start[i])
        if start <= minute < int(world.job_end[i]):
            return 0
        return (start - minute) % MINUTES_PER_DAY

    def _spare_ticks(self, world: World, minutes: int) -> int:
        """Return the ticks until one must stand at the work place; FAR if none is lost any more."""
        i = self.seat.slot
        if minutes > 0:
            return minutes if minutes == FAR else minutes - ARRIVAL_SLACK
        if world.shift_state[i] == ShiftState.ABSENT:
            return FAR
        if world.shift_worked[i] == 0:
            return 0
        left = int(self._rules.absence_slack) - int(world.shift_away[i])
        return left if world.busy_affordance[i] == NONE else left - 1

    # What calls, rank by rank.

    def _called(self, now: Now, aim: Memory, least: int) -> Memory:
        """Return what calls more than the aim does, of the ranks before ``least``, or the aim."""
        for rank in range(DIRE, least):
            if aim.rank <= rank:
                return aim
            call = self._call(now, rank)
            if call != SILENT:
                return Memory(call, rank, 0)
        return aim

    def _call(self, now: Now, rank: int) -> int:
        """Return the affordance that a rank asks for (NONE for a meet), or SILENT."""
        if rank == DUTY:
            return self._work(now)
        if rank == MEETING:
            world, i = now.sight.world, self.seat.slot
            o = int(world.meet_object)
            invited = world.meet_with[i] != NONE and o != NONE
            return NONE if invited and now.scene.steps[o] < UNREACHABLE else SILENT
        if rank == PROVISION:
            return self._provision(now)
        return self._need(now, rank)

    def _kept(self, now: Now) -> Memory:
        """Return the aim, a tick older, if it still stands; work and meets are asked anew."""
        aim = self._memory
        if aim.rank in (DUTY, MEETING, REST) or aim.age >= PATIENCE:
            return NO_AIM
        stands = now.outlook[aim.affordance].first == aim.affordance
        if not stands or not self._admissible(now, aim.rank, aim.affordance):
            return NO_AIM
        return aim._replace(age=aim.age + 1)

    def _need(self, now: Now, rank: int) -> int:
        """Return what leads to satisfying the lowest need that calls at a rank."""
        needs = [float(need) for need in now.sight.world.needs[self.seat.slot]]
        night = _is_night(now.sight.world)
        for k in sorted(range(len(needs)), key=lambda k: (needs[k], k)):
            best, best_value = NONE, 0.0
            for a, deed in enumerate(self._deeds):
                prospect, gain = now.outlook[a], deed.gain
                if deed.serves != k or prospect.ticks >= FAR:
                    continue
                if not self._wanted(now, rank, a) or not self._admissible(now, rank, a):
                    continue
                thrift = THRIFT * prospect.cost / (now.scene.wallet + 1.0)
                # At night one goes to bed; by day what takes less time is worth more.
                value = gain if night and k == Need.ENERGY else gain / (prospect.ticks + thrift)
                if value > best_value:
                    best, best_value = prospect.first, value
            if best != NONE:
                return best
        return SILENT

    def _wanted(self, now: Now, rank: int, affordance: int) -> bool:
        """Tell whether a need is low enough, at a rank, for what an affordance gives."""
        world, i = now.sight.world, self.seat.slot
        k, gain = self._deeds[affordance].serves, self._deeds[affordance].gain
        need = float(world.needs[i, k])
        pace = 1.0 + float(self._rules.pace_effect) * float(world.pace[i])
        decay = float(self._rules.need_decay[k]) * pace
        lost = decay * now.outlook[affordance].ticks
        if rank == DIRE:
            soonest = now.outlook[affordance].ticks == self._soonest(now, k)
            return soonest and need < CRITICAL_LEVEL and need <= lost + DANGER
        if rank == CRITICAL:
            return need < CRITICAL_LEVEL
        level = max(COMFORT_LEVEL, 1.0 - gain)
        if k == Need.ENERGY and _is_night(world):
            level = max(level, NIGHT_LEVEL)
        ahead = self._ticks_ahead(now)
        if ahead > 0:
            level = max(level, min(decay * ahead + EVE_RESERVE, EVE_LEVEL))
        return need < level and gain > WORTH * lost

    def _soonest(self, now: Now, k: int) -> int:
        """Return the ticks until a need can be served at the soonest."""
        outlook = zip(self._deeds, now.outlook, strict=True)
        return min((p.ticks for deed, p in outlook if deed.serves == k), default=FAR)

    def _ticks_ahead(self, now: Now) -> int:
        """Return the ticks without time for other needs: a shift, or a night's sleep."""
        world, i = now.sight.world, self.seat.slot
        ahead = self._longest if _is_night(world) else 0
        if 0 < now.minutes <= EVE:
            ahead = max(ahead, int(world.job_end[i]) - int(world.job_start[i]))
        return ahead

    def _admissible(self, now: Now, rank: int, affordance: int) -> bool:
        """Tell whether the first step towards an affordance leaves time, line and money enough."""
        if rank == DIRE:
            return True
        first = now.outlook[now.outlook[affordance].first]
        if now.spare < FAR:
            job = int(now.sight.world.job_object[self.seat.slot])
            back = int(self._atlas.between[first.place, job]) + 1
            if first.trip + back > now.spare:
                return False
        if rank == CRITICAL:
            return True
        cost, world = now.outlook[affordance].cost, now.sight.world
        owed = float(world.rent_owed[self.seat.slot]) + float(self._rules.rent)
        affordable = cost <= 0.0 or cost + owed + MARGIN <= now.scene.wallet
        in_line = first.place == now.scene.committed
        patience = LINE if in_line or not self._is_treat(world, affordance) else 0
        return affordable and not first.shunned and first.line <= patience

    def _is_treat(self, world: World, affordance: int) -> bool:
        """Tell whether an affordance serves a need that is not low at all: no reason to queue."""
        k = self._deeds[affordance].serves
        return k != NONE and float(world.needs[self.seat.slot, k]) >= COMFORT_LEVEL

    def _work(self, now: Now) -> int:
        """Return the own work if the shift is open or it is time to go there."""
        job = int(now.sight.world.job_object[self.seat.slot])
        if now.minutes == FAR:
            return SILENT
        if now.minutes > 0 and now.minutes > now.scene.steps[job] + 1 + ARRIVAL_SLACK:
            return SILENT
        for a, deed in enumerate(self._deeds):
            if deed.works and deed.kinds >> now.scene.kind[job] & 1:
                return a
        return SILENT

    def _provision(self, now: Now) -> int:
        """Return what soonest fills the bag or the store, if there is little in it."""
        best, soonest = SILENT, FAR
        for a, deed in enumerate(self._deeds):
            prospect = now.outlook[a]
            if not self._atlas.supplies[a] or prospect.first != a or prospect.ticks >= soonest:
                continue
            store = int(self._atlas.stores[a, prospect.place])
            short = deed.gives_ingredients > 0 and now.scene.ingredients < PANTRY
            short = short or (store != NONE and now.scene.stock[store] < PANTRY)
            if short and self._admissible(now, PROVISION, a):
                best, soonest = a, prospect.ticks
        return best

    # What is done about it.

    def _carry_out(self, now: Now, aim: Memory) -> int:
        """Return the next action towards an aim; WAIT leaves time for a chat."""
        sight, scene, seat = now.sight, now.scene, self.seat
        world, i = sight.world, seat.slot
        if aim.rank == DUTY:
            return pursue(seat, sight, aim.affordance, int(world.job_object[i]))
        if aim.rank in (MEETING, REST):
            if scene.committed != NONE:
                return self._atlas.release
            if aim.rank == REST:
                return self._step_aside(sight)
            o = int(world.meet_object)
            there = manhattan(world, i, o) <= self._rules.chat_range
            return WAIT if there else walk(seat, sight, seat.plan.distance[o])
        o = now.outlook[aim.affordance].place
        if scene.committed == NONE and scene.steps[o] == 0:
            # One asks for the nearest of a kind, which may be another one that is in reach too.
            o = int(nearest_in_range(world, self._rules, i, scene.kind[o]))
        taken = scene.committed == NONE and people_ahead(scene, o, 0) != (0, 0)
        if taken and aim.rank >= COMFORT and self._is_treat(world, aim.affordance):
            return walk(seat, sight, seat.plan.distance[o])
        return pursue(seat, sight, aim.affordance, o)

    def _step_aside(self, sight: Sight) -> int:
        """Do not stand in front of things for nothing: others may want to use them."""
        world, i, reach = sight.world, self.seat.slot, self._atlas.reach
        x, y = int(world.x[i]), int(world.y[i])
        if not reach[y, x]:
            return WAIT
        for d in range(len(DIRECTION_DX)):
            action = int(self._atlas.moves[d])
            nx, ny = x + DIRECTION_DX[d], y + DIRECTION_DY[d]
            if sight.mask[action] and not reach[ny, nx] and not _is_taken(world, nx, ny):
                return action
        return WAIT

    def _chat(self, sight: Sight) -> int:
        """Talk, instead of waiting, to somebody near by who is no rival; not twice in a row."""
        world, i, rules = sight.world, self.seat.slot, self._rules
        if not sight.mask[self._atlas.chat] or world.last_verb[i] == Verb.CHAT:
            return WAIT
        j = int(nearest_free_resident(world, i, int(rules.chat_range)))
        return WAIT if world.rivalry[i, j] > rules.avoid_threshold else self._atlas.chat


def _is_night(world: World) -> bool:
    minute = int(minute_of_day(world))
    return minute >= NIGHT_FALLS or minute < NIGHT_ENDS


def _is_taken(world: World, x: int, y: int) -> bool:
    """Tell whether a resident stands on a cell."""
    return any(
        world.alive[j] != 0 and world.x[j] == x and world.y[j] == y
        for j in range(int(world.n_residents))
    )
