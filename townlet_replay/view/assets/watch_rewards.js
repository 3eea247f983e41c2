// Rewards of the one followed, tick by tick and stacked by component, with the recorded values.
const span = () => Math.min(120, Math.max(10, facts.ticks - 1));  // ticks shown
let scales = [];

// The axis holds for the whole episode, so that it stands still; one bar in fifty may leave it.
function scaleOf(k) {
  if (scales[k]) return scales[k];
  const { reward, parts } = people[k], ups = [], downs = [];
  for (let row = 0; row < reward.length; row++) {
    let up = 0, down = 0;
    for (const v of stackOf(reward, parts, row)) if (v > 0) up += v; else if (v < 0) down += v;
    if (up) ups.push(up);
    if (down) downs.push(-down);
  }
  const most = (list) => list.sort((a, b) => a - b)[Math.floor(0.98 * (list.length - 1))] || 0;
  const high = most(ups) * 1.15, low = -most(downs) * 1.15;
  const known = facts.known[k] ? facts.known[k].values.filter(Number.isFinite) : [];
  let least = Infinity, greatest = -Infinity;
  for (const v of known) { least = Math.min(least, v); greatest = Math.max(greatest, v); }
  scales[k] = { high: high || (low ? 0 : 1), low, least, greatest };
  return scales[k];
}
function stackOf(reward, parts, row) {
  return parts ? parts.subarray(row * parts.width, (row + 1) * parts.width) : reward.subarray(row, row + 1);
}

function drawRewards(tick, k) {
  const [pen, w, h] = fitted($("rewards")), { reward, from } = people[k];
  const { high, low, least, greatest } = scaleOf(k), left = 44, wide = span(), unit = (w - left) / wide;
  const Y = (v) => 6 + ((high - v) / (high - low || 1)) * (h - 12);
  const first = Math.max(from + 1, tick - wide + 1), end = Math.min(first + wide, from + reward.length);
  pen.fillStyle = theme.soft;
  pen.font = "11px system-ui";
  pen.textBaseline = "middle";
  if (high > 0) pen.fillText(figure(high, 2), 0, Math.max(7, Y(high) + 4));
  pen.fillText("0", 0, Y(0));
  if (low < 0) pen.fillText(figure(low, 2), 0, Math.min(h - 7, Y(low) - 4));
  drawBars(pen, k, first, end, { high, low, left, unit, Y }, h);
  const bright = Math.min(Math.max(tick, first), end - 1);
  pen.fillStyle = theme.ink;
  if (end > first) pen.fillRect(left + (bright - first) * unit, h - 2, Math.max(unit - 0.6, 1), 2);
  pen.fillStyle = theme.line;
  pen.fillRect(left, Y(0), w - left, 1);
  if (greatest >= least) drawValues(pen, k, first, end, (t) => left + (t - first + 0.5) * unit,
    (v) => h - 8 - ((v - least) / (greatest - least || 1)) * (h - 16));
  const sum = tick >= from ? totals[k][Math.min(tick - from, totals[k].length - 1)] : 0;
  const now = tick > from && tick < from + reward.length ? `reward ${figure(rewardAt(k, tick))}, ` : "";
  state.sentence = `${people[k].name}: ${now}return so far ${figure(sum)}`;
  state.valued = `Reward per tick, ${wide} ticks.` + (greatest >= least
    ? ` The line is the value, from ${figure(least)} to ${figure(greatest)}.` : "");
}

// Component by component, so that the colour is changed eight times and not a thousand.
function drawBars(pen, k, first, end, { high, low, left, unit, Y }, h) {
  const { reward, parts, from } = people[k], n = Math.max(0, end - first), wide = Math.max(unit - 0.6, 1);
  const columns = parts || reward, width = parts ? parts.width : 1;
  const ups = new Float64Array(n), downs = new Float64Array(n);
  pen.globalAlpha = 0.75;
  for (let c = 0; c < width; c++) {
    pen.fillStyle = colour(c + 1);
    for (let i = 0; i < n; i++) {
      const v = columns[(first + i - from) * width + c], ends = v > 0 ? ups : downs;
      if (!v || Number.isNaN(v)) continue;
      const start = ends[i], stop = ends[i] = start + v;
      const top = Y(Math.min(Math.max(start, stop), high)), foot = Y(Math.max(Math.min(start, stop), low));
      if (foot > top) pen.fillRect(left + i * unit, top, wide, foot - top);
    }
  }
  pen.globalAlpha = 1;
  pen.fillStyle = theme.ink;
  for (let i = 0; i < n; i++) {  // what is beyond the axis
    if (ups[i] > high) pen.fillRect(left + i * unit, 0, wide, 3);
    if (downs[i] < low) pen.fillRect(left + i * unit, h - 6, wide, 3);
  }
}

function drawValues(pen, k, first, end, X, Y) {
  pen.strokeStyle = theme.ink;
  pen.lineWidth = 1.3;
  pen.beginPath();
  let open = false;
  for (let t = first; t < end; t++) {
    const row = rowAt[k][t], v = row < 0 ? NaN : facts.known[k].values[row];
    if (!Number.isFinite(v)) { open = false; continue; }
    if (open) pen.lineTo(X(t), Y(v)); else pen.moveTo(X(t), Y(v));
    open = true;
  }
  pen.stroke();
}
