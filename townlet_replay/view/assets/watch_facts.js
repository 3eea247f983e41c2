// The episode as it is asked for at every frame; `open` of watch.js fills this in.
let facts = null, town = false, people = [], rowAt = [], totals = [], eventStart = null, groups = [];

const GROUPS = [
  ["conflict", "red", ["queue_conflict"]],
  ["late or absent", "amber", ["shift_late", "shift_absent"]],
  ["chat", "accent", ["chat"]],
  ["kindness", "green", ["courtesy", "shared_meal", "helped", "shift_taken", "met"]],
  ["coming and going", "ink", ["arrived", "exit", "fainted", "evicted", "dismissed"]],
  ["the town", "violet", ["price_spike", "price_spike_over", "blackout", "blackout_over", "outage",
    "outage_over", "meet", "meet_over", "meet_missed"]],
];

// People are known by their place in the list, never by a name that a stranger chose.
const here = (k, tick) => tick >= people[k].from && tick < people[k].until;
const at = (k, field, tick) => people[k][field][tick - people[k].from];
const rewardAt = (k, tick) => people[k].reward[tick - people[k].from];
const clamped = (tick) => Math.min(Math.max(Math.round(tick) || 0, 0), facts.ticks - 1);

function useFacts(read) {
  facts = read;
  town = facts.kind === "town";
  people = facts.agents;
  people.forEach((person, k) => {
    person.until = person.from + (town ? person.x : person.reward).length;
    person.colour = () => colour(k);
    let sum = 0;
    totals.push(Float64Array.from(person.reward, (r) => (sum += r || 0)));
    const rows = new Int32Array(facts.ticks).fill(-1), known = facts.known[k];
    if (known) known.looks.forEach((look, row) => { rows[look] = row; });
    rowAt.push(rows);
  });
  if (!town) return;
  const { tick, kind, kinds } = facts.events;
  eventStart = new Uint32Array(facts.ticks + 1);
  for (const t of tick) eventStart[t + 1 > facts.ticks ? facts.ticks : t + 1] += 1;
  for (let t = 1; t <= facts.ticks; t++) eventStart[t] += eventStart[t - 1];
  for (const [name, shade, members] of GROUPS) {
    const codes = new Set(members.map((member) => kinds.indexOf(member)));
    const ticks = tick.filter((_, e) => codes.has(kind[e]));
    if (ticks.length) groups.push({ name, shade, ticks });
  }
}

// The first tick of a group after `tick` (or the last one before it), or undefined.
function neighbour(group, tick, step) {
  return step > 0 ? group.ticks.find((t) => t > tick) : group.ticks.findLast((t) => t < tick);
}
