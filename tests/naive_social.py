"""Twin of the rules between people and about work; see ``naive.py``."""

from __future__ import annotations

from naive_town import DAY, Job, Person, Tick, Town, meaning
from splitmix import draw

COMPONENTS = (
    "survival", "needs", "shaping", "wage", "punctuality", "social", "terminal", "clip",
)  # fmt: skip


def work_shifts(town: Town, tick: Tick) -> None:
    """3.8: on time, late, absent; wages only while working; scored once per shift."""
    for i, person in enumerate(town.people):
        if person.job is None and not person.dismissed and not town.is_open(person.post):
            person.job = person.post if person.alive else None  # a newcomer waits for the next day
        if person.alive and person.job is not None:
            if town.on_shift(i):
                _live_shift(town, tick, i, person, person.job)
            else:
                _leave_shift(town, tick, i, person, person.job)


def _live_shift(town: Town, tick: Tick, i: int, person: Person, job: Job) -> None:
    rules = town.config.employment
    minutes = town.minute - job.start
    works = person.doing is not None and town.affordance(person.doing).requires.on_shift
    begins = works and person.worked == 0 and person.shift != "absent"
    if begins:
        tick.punctuality[i] = max(1 - minutes / rules.grace_ticks, -1.0)
    if person.shift in ("off", "done"):
        person.shift = "pre"
    if person.shift == "pre" and minutes > rules.grace_ticks:
        person.shift = "late"
        person.withheld += job.penalty
        tick.say("shift_late", i, thing=job.thing, value=minutes)
    elif person.shift == "pre" and works:
        person.shift = "on_time"
        tick.say("shift_on_time", i, thing=job.thing, value=minutes)
    if works:
        person.worked += 1
        kept = min(job.wage, person.withheld)
        person.withheld -= kept
        person.wallet += job.wage - kept
        tick.wage[i] = job.wage - kept
    elif person.worked > 0:
        person.away += 1
    never_came = person.worked == 0 and minutes > rules.absent_cutoff
    if person.shift != "absent" and (never_came or person.away > rules.absence_slack):
        person.shift = "absent"
        if never_came:  # who came was scored when work began
            tick.punctuality[i] = -1.0
        tick.say("shift_absent", i, thing=job.thing, value=minutes)
    _take_over(town, tick, i, person, job)


def _take_over(town: Town, tick: Tick, i: int, person: Person, job: Job) -> None:
    """Somebody else does the work of who is late or absent and has not worked a tick."""
    idle = person.shift in ("late", "absent") and person.worked == 0
    user = town.things[job.thing].user
    if not idle or person.taken_over or user is None or user == i:
        return
    doing = town.people[user].doing
    if doing is not None and town.affordance(doing).requires.on_shift:
        person.taken_over = True
        tick.say("shift_taken", user, i, thing=job.thing)


def _leave_shift(town: Town, tick: Tick, i: int, person: Person, job: Job) -> None:
    if person.shift in ("on_time", "late", "absent"):
        person.shifts = [(person.worked, job.end - job.start), *person.shifts[:-1]]
        person.absences = [person.shift == "absent", *person.absences[:-1]]
        person.worked = person.away = 0
        person.taken_over = False
        person.shift = "done"
        tick.say("shift_done", i, thing=job.thing)
        if sum(person.absences) >= town.config.employment.dismissal_absences:
            person.dismissed, person.job, person.withheld, person.shift = True, None, 0.0, "off"
            tick.say("dismissed", i, thing=job.thing)
            return
    if (job.start - town.minute) % DAY <= town.config.employment.arrival_buffer:
        person.shift = "pre"
    elif town.minute < job.start:
        person.shift = "off"
    elif person.shift == "pre":
        person.shift = "done"


def update_ties(town: Town, tick: Tick) -> None:
    """3.9: rivalry fades, chats are held, what happened is booked, few rivals are kept."""
    ties = town.config.ties
    for person in town.people:
        person.rivalry = [max(value - ties.decay, 0.0) for value in person.rivalry]
    for i in tick.turns:
        if town.people[i].alive and meaning(town, tick, i)[0] == "chat":
            _chat(town, tick, i)
    for event in tick.events:
        if event.by is not None and event.other is not None:
            _book(town, tick, event.kind, event.by, event.other, event.value)
    for person in town.people:
        rivals = [j for j, value in enumerate(person.rivalry) if value > 0]
        rivals.sort(key=person.rivalry.__getitem__)
        for j in rivals[: max(len(rivals) - ties.max_edges, 0)]:
            person.rivalry[j] = 0.0


def _book(town: Town, tick: Tick, kind: str, i: int, j: int, value: float) -> None:
    ties = town.config.ties
    polite = (ties.courtesy_trust, ties.courtesy_familiarity)
    if kind in ("courtesy", "helped") and town.people[i].rivalry[j] > ties.avoid_threshold:
        tick.social[i] += _social(town, i, town.config.rewards.social.avoided)
    for a, b in ((i, j), (j, i)):
        if kind == "queue_conflict":
            _anger(town, a, b, ties.conflict_increment * value)
        elif kind == "courtesy" or (kind == "helped" and a == i):
            _calm(town, a, b, ties.courtesy_rivalry)
            _befriend(town, a, b, *polite)
        elif kind == "shared_meal":
            _befriend(town, a, b, ties.shared_meal_trust, ties.shared_meal_familiarity)
        elif kind == "company":
            _befriend(town, a, b, 0.0, value)
        elif kind == "met":
            _befriend(town, a, b, ties.met_trust, ties.met_familiarity)
    _book_one_way(town, kind, i, j)


def _book_one_way(town: Town, kind: str, i: int, j: int) -> None:
    ties = town.config.ties
    if kind == "queue_rotated":
        _anger(town, j, i, ties.rotated_increment)
    if kind == "helped":
        _calm(town, j, i, ties.helped_rivalry)
        _befriend(town, j, i, ties.helped_trust, ties.helped_familiarity)
    if kind == "shift_taken":
        _befriend(town, j, i, -ties.shift_taken_trust, 0.0)
        _anger(town, j, i, ties.shift_taken_rivalry)
    if kind == "meet_missed":
        _befriend(town, i, j, -ties.missed_trust, 0.0)


def _social(town: Town, i: int, reward: float) -> float:
    """Nothing while it is off, and for who is in great need."""
    social, needs = town.config.rewards.social, town.people[i].needs
    content = all(1 - need <= social.deficit_limit for need in needs)
    return reward if social.enabled and content else 0.0


def _calm(town: Town, i: int, j: int, amount: float) -> None:
    me = town.people[i]
    me.rivalry[j] = max(me.rivalry[j] - amount, 0.0)


def _anger(town: Town, i: int, j: int, amount: float) -> None:
    me = town.people[i]
    calm = 1 - town.config.ties.patience_effect * me.patience
    me.rivalry[j] = min(me.rivalry[j] + amount * calm, 1.0)


def _befriend(town: Town, i: int, j: int, trust: float, familiarity: float) -> None:
    me = town.people[i]
    warm = 1 + town.config.ties.warmth_effect * me.warmth
    change = trust * warm if trust > 0 else trust  # warmth makes gains larger, not losses
    me.trust[j] = min(max(me.trust[j] + change, -1.0), 1.0)
    me.familiarity[j] = min(max(me.familiarity[j] + familiarity * warm, -1.0), 1.0)


def _chat(town: Town, tick: Tick, i: int) -> None:
    ties, me = town.config.ties, town.people[i]
    j = town.nearest_free_person(i, ties.chat_range)
    if j is None:
        return
    trust, familiarity = me.trust[j], me.familiarity[j]
    chance = ties.chat_probability * (1 + 0.3 * trust) * (1 + 0.2 * familiarity)
    chance = min(max(chance, 0.0), 1.0)
    luck = (draw(town.seed, 0, town.tick, i * 64 + 2) >> 11) / 2**53
    if luck >= chance:
        tick.say("chat", i, j)
        _befriend(town, i, j, -0.25 * ties.chat_trust, 0.0)
        return
    quality = 1 - luck / chance
    tick.say("chat", i, j, value=quality)
    tick.success[i] = True
    social = town.config.rewards.social
    warmth = social.base + social.trust * trust + social.familiarity * familiarity
    tick.social[i] = _social(town, i, warmth)
    for a, b in ((i, j), (j, i)):
        _befriend(town, a, b, ties.chat_trust * quality, ties.chat_familiarity * quality)


def score(town: Town, tick: Tick) -> None:
    """5: the components and their sum."""
    rewards = town.config.rewards
    for i, person in enumerate(town.people):
        parts = dict.fromkeys(COMPONENTS, 0.0)
        weights = rewards.need_weights.values()
        deficits = [1 - need for need in person.needs]
        here = sum(w * d for w, d in zip(weights, deficits, strict=True))
        phi = -rewards.shaping_scale * here if person.alive else 0.0
        if (person.alive or tick.terminated[i]) and not tick.arrived[i]:
            squares = sum(w * d * d for w, d in zip(weights, deficits, strict=True))
            parts["survival"] = rewards.survival_tick
            parts["needs"] = -rewards.needs_scale * squares
            parts["shaping"] = rewards.shaping_gamma * phi - person.potential
            parts["wage"] = rewards.wage_weight * tick.wage[i]
            parts["punctuality"] = rewards.punctuality_scale * tick.punctuality[i]
            parts["social"] = tick.social[i]
            total = sum(parts.values())
            kept = min(max(total, -rewards.clip), rewards.clip)
            if tick.terminated[i] or _quiet(town, person):
                kept = min(kept, 0.0)
            parts["clip"] = kept - total
            parts["terminal"] = tick.terminal[i]
        if person.alive or tick.terminated[i]:
            person.potential = phi
        tick.components[i] = list(parts.values())
        tick.reward[i] = sum(parts.values())


def _quiet(town: Town, person: Person) -> bool:
    """Nobody is rewarded around an exit: before their own, and in the slot after it."""
    soon = town.config.lives.faint_after - town.config.rewards.quiet_ticks
    leaving = person.notice > 0 or (person.faint_ticks > 0 and person.faint_ticks >= soon)
    return leaving or town.tick < person.quiet_until
