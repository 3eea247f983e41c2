"""Twin of coming to town, of what living there costs, and of leaving it; see ``naive.py``."""

from __future__ import annotations

import itertools

from naive_town import Cell, Person, Tick, Town
from splitmix import draw, uniform

EVENTS = 1  # the stream
DELAY, TRAIT = 9, 10  # what a draw is for
ROOT = 1.1673039782614187  # of x^5 = x + 1, for sequences in four dimensions


def draw_personalities(town: Town) -> None:
    """3.2: residents of the scenario whose personality is drawn, when the episode opens."""
    for i, person in enumerate(town.people):
        if person.drawn:
            uses = [(i + 1) * 64 + TRAIT + d for d in range(4)]
            _characterise(town, person, [uniform(town.seed, EVENTS, 0, use) for use in uses])


def _characterise(town: Town, person: Person, u: list[float]) -> None:
    """The first number picks a profile by its share of the mix, the others the traits."""
    settings = town.config.personalities
    names, shares = list(settings.mix), itertools.accumulate(settings.mix.values())
    passed = sum(u[0] >= share / sum(settings.mix.values()) for share in shares)
    profile = settings.profiles[names[passed]]
    middle = (profile.pace, profile.patience, profile.warmth)
    around = [m + settings.spread * (2 * v - 1) for m, v in zip(middle, u[1:], strict=True)]
    person.pace, person.patience, person.warmth = (min(max(v, -1.0), 1.0) for v in around)


def welcome_newcomers(town: Town, tick: Tick) -> None:
    """3.2: a vacant slot whose time has come gets a newcomer, if there is a cell by the road."""
    for i, person in enumerate(town.people):
        due = person.vacant_until is not None and town.tick >= person.vacant_until
        if person.alive or not due or town.arrivals >= town.ground.plan.max_newcomers:
            continue
        cell = _roadside(town, town.arrivals + 1)
        if cell is not None:
            town.arrivals += 1
            _arrive(town, i, cell)
            tick.arrived[i] = True
            tick.say("arrived", i)


def _roadside(town: Town, number: int) -> Cell | None:
    cells = town.ground.roadside
    turned = [cells[(number + step) % len(cells)] for step in range(len(cells))]
    return next((cell for cell in turned if town.person_at(cell) is None), None)


def _arrive(town: Town, i: int, cell: Cell) -> None:
    settings, me = town.config.arrivals, town.people[i]
    n, number = len(town.people), town.arrivals
    me.alive, me.newcomer, me.since, me.vacant_until = True, number, town.tick + 1, None
    me.x, me.y = cell
    me.needs = list(settings.needs.values())
    me.wallet, me.ingredients = settings.wallet, settings.ingredients
    bases = [uniform(town.seed, EVENTS, 0, TRAIT + d) for d in range(4)]
    _characterise(
        town, me, [(base + number * ROOT ** -(d + 1)) % 1 for d, base in enumerate(bases)]
    )
    me.faint_ticks = me.notice = me.rent_missed = 0
    me.rent_owed = me.withheld = 0.0
    me.meal_until = me.meet_from = me.meets = me.blocked = 0
    me.doing = me.at = me.reserved = me.waits_for = None
    me.remaining = me.waited = me.worked = me.away = 0
    me.cooldown = [0] * len(town.things)
    me.last_verb, me.last_success = "wait", True
    me.job = None  # 3.8 gives it
    me.dismissed = me.taken_over = False
    me.absences = [False] * 7
    me.shift = "off"
    me.shifts = [(0, 0)] * 3
    me.rivalry, me.trust, me.familiarity = [0.0] * n, [0.0] * n, [0.0] * n
    for other in town.people:
        other.rivalry[i] = other.trust[i] = other.familiarity[i] = 0.0


def keep_accounts(town: Town, tick: Tick) -> None:
    """3.10: restock, and rent at midnight; who is under notice for it pays as soon as possible."""
    economy = town.config.economy
    if town.minute == economy.restock_minute:
        for o, thing in enumerate(town.things):
            if thing.stock < thing.restock:
                tick.say("restocked", thing=o, value=thing.restock - thing.stock)
                thing.stock = thing.restock
    midnight = town.minute == 0 and town.tick > 0
    if midnight:
        town.exits_today = 0
    for i, person in enumerate(town.people):
        if not person.alive:
            continue
        if midnight and economy.rent > 0:
            person.rent_owed += economy.rent
            if not _settle(tick, i, person):
                person.rent_missed += 1
                tick.say("rent_unpaid", i, value=person.rent_owed)
        elif person.rent_missed >= town.config.lives.rent_patience:
            _settle(tick, i, person)


def _settle(tick: Tick, i: int, person: Person) -> bool:
    if person.wallet < person.rent_owed:
        return False
    tick.say("rent_paid", i, value=person.rent_owed)
    person.wallet -= person.rent_owed
    person.rent_owed, person.rent_missed = 0.0, 0
    return True


def end_lives(town: Town, tick: Tick) -> None:
    """3.10: who faints or is evicted leaves, when leaving is allowed."""
    lives = town.config.lives
    if not lives.enabled:
        return
    for i in tick.turns:
        me = town.people[i]
        if not me.alive:
            continue
        desperate = min(me.needs) <= lives.faint_level
        me.faint_ticks = me.faint_ticks + 1 if desperate else 0
        poor = me.dismissed and me.wallet < lives.empty_wallet
        unpaid = me.rent_missed >= lives.rent_patience
        me.notice = me.notice + 1 if poor or unpaid else 0
        if not _may_leave(town, me):
            continue
        if me.faint_ticks >= lives.faint_after:
            _exit(town, tick, i, "fainted", town.config.rewards.faint)
        elif me.notice > lives.notice_ticks:
            _exit(town, tick, i, "evicted", town.config.rewards.eviction)


def _may_leave(town: Town, me: Person) -> bool:
    lives, t = town.config.lives, town.tick
    new = me.newcomer > 0 and t < me.since + lives.grace_ticks
    troubled = any(town.until[:3]) or t < town.calm_from
    many = town.exits_today >= lives.exits_per_day or t < town.exit_from
    return not (new or troubled or many)


def _exit(town: Town, tick: Tick, i: int, why: str, reward: float) -> None:
    me, t = town.people[i], town.tick
    tick.say(why, i)
    tick.say("exit", i)
    tick.terminated[i], tick.terminal[i] = True, reward
    town.exits_today += 1
    town.exit_from = t + town.config.lives.exit_gap
    for thing in town.things:
        thing.user = None if thing.user == i else thing.user
        if thing.holder == i:
            thing.holder, thing.held_for = None, 0
        if i in thing.line:
            thing.line.remove(i)
    me.alive = False
    me.doing = me.at = me.reserved = me.waits_for = None
    me.remaining = me.waited = 0
    for j, other in enumerate(town.people):
        me.rivalry[j] = me.trust[j] = me.familiarity[j] = 0.0
        other.rivalry[i] = other.trust[i] = other.familiarity[i] = 0.0
    me.quiet_until = t + 1 + town.config.rewards.quiet_ticks
    if town.ground.plan.max_newcomers > 0:
        least, most = town.config.arrivals.delay
        delay = least + draw(town.seed, EVENTS, t, i * 64 + DELAY) % (most - least + 1)
        me.vacant_until = t + 1 + delay
