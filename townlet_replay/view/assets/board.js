// Zoom, hover and, where there is a server, looking for more.
const state = { axis: "epoch", range: null, hover: null, polls: 0, failed: false, drawn: 0,
  patience: 30000 };
const charts = [];
let asked = false, data = true, brush = null;

function ask(changed) {
  data = data || changed;
  if (asked) return;
  asked = true;
  requestAnimationFrame(frame);
}
function frame() {
  asked = false;
  const range = shownRange();
  if (data) {
    data = false;
    for (const chart of charts) drawChart(chart, range, state.axis);
    showTable();
    showAlarms();
    showRest();
    state.drawn += 1;
  }
  for (const chart of charts) if (chart.lines.length) tellValues(chart, state.hover, range);
}

function wholeRange() {
  let low = Infinity, high = -Infinity;
  for (const log of logs) {
    const xs = log.columns.get(state.axis);
    if (!log.shown || !xs || !xs.length) continue;
    low = Math.min(low, xs[0]);
    high = Math.max(high, xs[xs.length - 1]);
  }
  return low > high ? [0, 1] : low === high ? [low - 1, high + 1] : [low, high];
}
const shownRange = () => state.range || wholeRange();
function look(range) {
  const whole = wholeRange();
  state.range = range && range[1] > range[0] ? range : null;
  if (state.range && state.range[0] <= whole[0] && state.range[1] >= whole[1]) state.range = null;
  $("whole").disabled = !state.range;
  ask(true);
}
function zoomBy(factor) {
  const [low, high] = shownRange(), middle = (low + high) / 2, half = ((high - low) / 2) * factor;
  look([middle - half, middle + half]);
}
function moveBy(share) {
  if (!state.range) return;
  const [low, high] = state.range, step = (high - low) * share;
  look([low + step, high + step]);
}

function showRest() {
  const present = new Set(logs.flatMap((log) => [...log.agents.keys()]));
  $("agent-part").hidden = !present.size;
  while ($("agents").children.length < agentNames.length) {
    const place = $("agents").children.length;
    $("agents").append(chip("span", colour(place), agentNames[place]));
  }
  [...$("agents").children].forEach((node, place) => { node.hidden = !present.has(place); });
  [...$("logs").children].forEach((node, k) => node.setAttribute("aria-pressed", String(logs[k].shown)));
  const said = logs.flatMap((log) => [
    log.problem && `${log.name}: ${log.problem}${log.problems > 1 ? ` (and ${log.problems - 1} more)` : ""}`,
    log.note && `${log.name}: ${log.note}`,
  ]).filter(Boolean);
  put($("nothing"), said.join("; "));
  $("nothing").hidden = !said.length;
  const counts = logs.map((log) => `${log.name}: ${log.count} epochs`).join(", ");
  const live = !facts.interval ? "" : state.failed ? "the server does not answer, trying again; "
    : "live; ";
  put($("status"), live + counts);
}

async function poll() {
  const have = logs.map((log) => `have=${encodeURIComponent(`${log.token}:${log.count}`)}`).join("&");
  let changed = false, more = false;
  try {
    const answer = await fetch(`records?${have}`,
      { cache: "no-store", signal: AbortSignal.timeout(state.patience) });
    if (!answer.ok) throw new Error(answer.statusText);
    const parts = await answer.json();
    if (parts.length !== logs.length || parts.some(({ name }, k) => name !== logs[k].name)) {
      location.reload();  // another board is served at this address now
      return;
    }
    changed = state.failed;
    state.failed = false;
    parts.forEach((part, k) => {
      changed = merge(logs[k], part) || changed;
      more = more || logs[k].count < logs[k].total;
    });
  } catch (error) {
    changed = !state.failed;
    state.failed = true;
  }
  state.polls += 1;
  if (changed) ask(true);
  setTimeout(poll, more ? 0 : 1000 * facts.interval);
}

function listen() {
  $("axis").addEventListener("change", () => { state.axis = $("axis").value; look(null); });
  $("whole").addEventListener("click", () => look(null));
  document.addEventListener("keydown", (event) => {
    if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = { Escape: () => look(null), ArrowLeft: () => moveBy(-0.25), ArrowRight: () => moveBy(0.25),
      "+": () => zoomBy(0.5), "-": () => zoomBy(2) };
    if (!Object.hasOwn(keys, event.key)) return;
    keys[event.key]();
    event.preventDefault();
  });
  let width = innerWidth;
  window.addEventListener("resize", () => { if (width !== innerWidth) { width = innerWidth; ask(true); } });
  onTheme(() => ask(true));
}
function listenTo(chart) {
  const { canvas, box } = chart;
  const place = (event) => {
    const edge = canvas.getBoundingClientRect(), [low, high] = shownRange();
    const share = (event.clientX - edge.left - LEFT) / Math.max(1, edge.width - LEFT - 6);
    return low + Math.min(1, Math.max(0, share)) * (high - low);
  };
  canvas.addEventListener("pointerdown", (event) => {
    brush = { from: place(event), x: event.offsetX };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    state.hover = place(event);
    if (brush) {
      box.hidden = false;
      box.style.left = `${Math.min(brush.x, event.offsetX)}px`;
      box.style.width = `${Math.abs(event.offsetX - brush.x)}px`;
    }
    ask(false);
  });
  canvas.addEventListener("pointerup", (event) => {
    const to = place(event), wide = brush ? Math.abs(event.offsetX - brush.x) : 0;
    if (wide > 5) look([Math.min(brush.from, to), Math.max(brush.from, to)]);
    brush = null;
    box.hidden = true;
  });
  canvas.addEventListener("pointercancel", () => { brush = null; box.hidden = true; });
  canvas.addEventListener("pointerleave", () => { state.hover = null; ask(false); });
  canvas.addEventListener("dblclick", () => look(null));
}

async function start() {
  facts = await readFacts();
  readTheme();
  logs = facts.logs.map(emptyLog);
  facts.panels.forEach((panel) => charts.push(buildChart($("charts"), panel)));
  facts.agentPanels.forEach((panel) => charts.push(buildChart($("agent-charts"), panel)));
  charts.forEach(listenTo);
  logs.forEach((log) => {
    const node = chip("button", colour(log.k), log.name);
    node.addEventListener("click", () => { log.shown = !log.shown; ask(true); });
    $("logs").append(node);
  });
  $("logs").hidden = logs.length < 2;
  buildTable();
  facts.parts.forEach((part, k) => merge(logs[k], part));
  listen();
  ask(true);
  window.townlet = { state, facts, logs, charts, look, poll };
  if (facts.interval) poll();
}
start();
