// The logs as columns that grow. Agents are known by their place in `agentNames`.
let facts = null, logs = [];
const agentNames = [], agentPlace = new Map();

function emptyLog(name, k) {
  return { name, k, shown: true, token: "", count: 0, total: 0, columns: new Map(), agents: new Map(),
    words: {}, problems: 0, problem: "", note: "", alarms: 0, newestAlarms: [] };
}
function clearLog(log) {
  Object.assign(log, emptyLog(log.name, log.k), { shown: log.shown });
}

// Adds what a server or the page itself brings; true if anything changed.
function merge(log, part) {
  const said = log.problem !== part.problem || log.problems !== part.problems || log.note !== part.note;
  log.problem = part.problem;
  log.problems = part.problems;
  log.note = part.note;
  log.total = part.total;
  const anew = part.token !== log.token;
  if (anew) {
    const { problem, problems, note, total } = part;
    clearLog(log);
    Object.assign(log, { token: part.token, problem, problems, note, total });
  }
  if (part.first !== log.count) return anew || said;  // an answer that came twice
  for (const key of Object.keys(part.columns)) {
    if (!log.columns.has(key)) log.columns.set(key, new Array(log.count).fill(NaN));
  }
  for (const [key, column] of log.columns) {
    const more = part.columns[key];
    for (let i = 0; i < part.count; i++) {
      column.push(more && more[i] !== null ? more[i] : NaN);
    }
  }
  mergeAgents(log, part);
  const first = log.count;
  log.count += part.count;
  if (part.count) log.words = part.newest;
  findAlarms(log, first);
  return anew || said || part.count > 0;
}

function mergeAgents(log, part) {
  const places = part.names.map((name) => {
    if (!agentPlace.has(name)) { agentPlace.set(name, agentNames.length); agentNames.push(name); }
    return agentPlace.get(name);
  });
  const flat = part.agents.width, rows = flat ? part.agents.length / flat : part.agents.length;
  for (let r = 0; r < rows; r++) {
    const row = flat ? part.agents.subarray(r * flat, (r + 1) * flat) : part.agents[r];
    const place = places[row[0]];
    if (!log.agents.has(place)) {
      log.agents.set(place, { rows: [], figures: facts.agentFigures.map(() => []), places: {} });
    }
    const agent = log.agents.get(place);
    agent.rows.push(row[1]);
    agent.figures.forEach((column, f) => column.push(row[2 + f] === null ? NaN : row[2 + f]));
  }
}
// Where the points of an agent are on an axis; only what is new is looked up.
function placesOf(agent, axis, xs) {
  const places = agent.places[axis] = agent.places[axis] || [];
  for (let i = places.length; i < agent.rows.length; i++) places.push(xs[agent.rows[i]]);
  return places;
}

const beyond = (limit, value) => (limit.side === "<=" ? value > limit.bound : value < limit.bound);
function findAlarms(log, first) {
  const epochs = log.columns.get("epoch");
  for (let i = first; i < log.count; i++) {
    for (const limit of facts.limits) {
      const column = log.columns.get(limit.key);
      if (!column || !beyond(limit, column[i])) continue;
      log.alarms += 1;
      log.newestAlarms.push(`${log.name}, epoch ${epochs[i]}: ${limit.key} ${figure(column[i])}, expected ` +
        `${limit.side} ${limit.bound}; ${limit.remedy}`);
    }
  }
  log.newestAlarms.splice(0, Math.max(0, log.newestAlarms.length - 5));
}

// The lines of a chart: {label, xs, ys, shade, dash}.
const DASHES = [[], [5, 3], [2, 3], [8, 3, 2, 3]];
function linesOf(chart, axis) {
  const found = [], several = facts.logs.length > 1;
  for (const log of logs) {
    const xs = log.columns.get(axis);
    if (!log.shown || !xs) continue;
    if (chart.curves) {
      chart.curves.forEach(({ key, label }, c) => {
        const ys = log.columns.get(key);
        if (ys) found.push({ label, key, xs, ys, shade: colour(several ? log.k : c),
          dash: DASHES[several ? c % 4 : 0] });
      });
      continue;
    }
    for (const [place, agent] of log.agents) {
      found.push({ label: agentNames[place], xs: placesOf(agent, axis, xs),
        ys: agent.figures[chart.figure], shade: colour(place), dash: DASHES[several ? log.k % 4 : 0] });
    }
  }
  return found.filter(({ ys }) => ys.some((v) => !Number.isNaN(v)));
}
