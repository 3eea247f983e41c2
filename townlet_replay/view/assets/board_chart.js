// One small chart: lines, limits, the part of the x axis that all charts share.
const LEFT = 46, FOOT = 16, TOP = 6;

function buildChart(parent, chart) {
  const card = make("section"), head = make("h2"), title = make("b", "", chart.title), now = make("span");
  const strip = make("div", "strip"), canvas = make("canvas"), cross = make("i"), box = make("u");
  head.append(title, now);
  strip.append(canvas, cross, box);
  card.append(head);
  if (chart.curves && chart.curves.length > 1) {
    const legend = make("div", "chips");
    chart.curves.forEach(({ label }, c) => legend.append(curveChip(label, c)));
    card.append(legend);
  }
  card.append(strip);
  cross.hidden = box.hidden = true;
  parent.append(card);
  return Object.assign(chart, { card, now, canvas, cross, box, lines: [] });
}
// With several logs the colour is the log's, and dashes tell the curves apart.
function curveChip(label, c) {
  if (facts.logs.length < 2) return chip("span", colour(c), label);
  return make("span", "chip plain", `${["\u2500\u2500", "\u2504\u2504", "\u00b7\u00b7\u00b7", "\u2500\u00b7"][c % 4]} ${label}`);
}

function drawChart(chart, range, axis) {
  chart.lines = linesOf(chart, axis);
  chart.card.hidden = !chart.lines.length;
  if (!chart.lines.length) return;
  const [pen, w, h] = fitted(chart.canvas);
  chart.wide = w - LEFT - 6;  // asking for it again, between two texts, would lay out the page anew
  const limits = (chart.curves || []).flatMap(({ key }) => facts.limits.filter((limit) => limit.key === key));
  const [low, high] = heights(chart.lines, range, limits);
  const X = (x) => LEFT + ((x - range[0]) / (range[1] - range[0] || 1)) * (w - LEFT - 6);
  const Y = (y) => TOP + ((high - y) / (high - low)) * (h - TOP - FOOT);
  drawAxes(pen, w, h, range, low, high, Y);
  pen.save();
  pen.beginPath();
  pen.rect(LEFT - 2, 0, w - LEFT + 2, h - FOOT + 2);
  pen.clip();
  for (const line of chart.lines) drawLine(pen, line, range, X, Y, w);
  pen.restore();
  for (const limit of limits) drawLimit(pen, w, limit, low, high, Y);
}

// The range of the y axis: what is visible, and a limit if that is not far.
function heights(lines, range, limits) {
  let low = Infinity, high = -Infinity;
  for (const { xs, ys } of lines) {
    const [first, end] = visible(xs, range);
    for (let i = first; i < end; i++) {
      if (ys[i] < low) low = ys[i];
      if (ys[i] > high) high = ys[i];
    }
  }
  if (low > high) return [0, 1];
  const span = high - low || Math.abs(high) || 1;
  for (const { bound } of limits) {
    if (bound > high && bound <= high + span) high = bound;
    if (bound < low && bound >= low - span) low = bound;
  }
  const more = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - more, high + more];
}

// Indices of the points in a range, and one more at each side.
function visible(xs, range) {
  return [Math.max(0, lowerBound(xs, range[0]) - 1), Math.min(xs.length, lowerBound(xs, range[1]) + 2)];
}
function lowerBound(xs, x) {
  let first = 0, end = xs.length;
  while (first < end) {
    const middle = (first + end) >> 1;
    if (xs[middle] < x) first = middle + 1; else end = middle;
  }
  return first;
}

function drawAxes(pen, w, h, range, low, high, Y) {
  pen.font = "11px system-ui";
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  const step = niceStep((high - low) / 3), first = Math.ceil(low / step);
  // Counted: a step that is too small for its numbers would never arrive.
  for (let k = 0; k < 8; k++) {
    const y = (first + k) * step;
    if (!(y <= high)) break;
    pen.fillStyle = theme.line;
    pen.fillRect(LEFT, Math.round(Y(y)), w - LEFT - 6, 1);
    pen.fillStyle = theme.soft;
    pen.fillText(figure(Math.abs(y) < step / 1e6 ? 0 : y), LEFT - 5, Y(y));
  }
  pen.textBaseline = "bottom";
  pen.textAlign = "left";
  pen.fillText(figure(range[0], 6), LEFT, h);
  pen.textAlign = "right";
  pen.fillText(figure(range[1], 6), w - 6, h);
  pen.textAlign = "left";
}
function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough)), share = rough / power;
  return power * (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10);
}

function drawLine(pen, line, range, X, Y, w) {
  const { xs, ys, shade, dash } = line, [first, end] = visible(xs, range);
  pen.strokeStyle = pen.fillStyle = shade;
  pen.lineWidth = 1.4;
  const points = end - first > 2 * w ? drawSpread(pen, xs, ys, first, end, X, Y)
    : Array.from({ length: end - first }, (_, i) => [X(xs[first + i]), Y(ys[first + i])]);
  pen.setLineDash(dash);
  pen.beginPath();
  let open = false;
  for (const [x, y] of points) {
    if (Number.isNaN(y)) open = false;
    else if (open) pen.lineTo(x, y);
    else { pen.moveTo(x, y); open = true; }
  }
  pen.stroke();
  pen.setLineDash([]);
  if (points.length > 40) return;
  for (const [x, y] of points) if (!Number.isNaN(y)) pen.fillRect(x - 1.5, y - 1.5, 3, 3);
}
// Where points are denser than pixels: a pale bar from the lowest to the highest of each column of
// pixels. Returns their means.
function drawSpread(pen, xs, ys, first, end, X, Y) {
  const means = [];
  let pixel = NaN, low = 0, high = 0, sum = 0, count = 0;
  const close = () => {
    if (!count) return;
    pen.fillRect(pixel, low, 1, high - low);
    means.push([pixel + 0.5, sum / count]);
  };
  pen.globalAlpha = 0.25;
  for (let i = first; i < end; i++) {
    const x = Math.floor(X(xs[i])), y = Y(ys[i]);
    if (Number.isNaN(y)) continue;
    if (x !== pixel) {
      close();
      pixel = x;
      low = high = sum = y;
      count = 1;
    } else {
      low = Math.min(low, y);
      high = Math.max(high, y);
      sum += y;
      count += 1;
    }
  }
  close();
  pen.globalAlpha = 1;
  return means;
}

function drawLimit(pen, w, limit, low, high, Y) {
  const inside = limit.bound >= low && limit.bound <= high, above = limit.bound > high;
  pen.strokeStyle = pen.fillStyle = theme.red;
  const y = inside ? Y(limit.bound) : Y(above ? high : low);
  if (inside) {
    pen.setLineDash([6, 4]);
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(LEFT, y);
    pen.lineTo(w - 6, y);
    pen.stroke();
    pen.setLineDash([]);
  }
  pen.textAlign = "right";
  pen.textBaseline = above || (inside && y < 20) ? "top" : "bottom";
  const arrow = inside ? "" : above ? " \u2191" : " \u2193";
  const text = `limit ${limit.side} ${figure(limit.bound)}${arrow}`;
  const foot = y + (pen.textBaseline === "top" ? 2 : -2);
  pen.strokeStyle = theme.card;
  pen.lineWidth = 4;
  pen.lineJoin = "round";
  pen.strokeText(text, w - 8, foot);
  pen.fillText(text, w - 8, foot);
  pen.textAlign = "left";
}

// The values at a place of the x axis, or the newest ones.
function tellValues(chart, x, range) {
  chart.cross.hidden = x === null;
  if (x !== null) {
    const at = LEFT + ((x - range[0]) / (range[1] - range[0] || 1)) * chart.wide;
    chart.cross.style.transform = `translateX(${at}px)`;
  }
  const values = chart.lines.slice(0, 4).map(({ xs, ys }) => {
    if (x === null) return figure(ys.findLast((v) => !Number.isNaN(v)));
    const i = lowerBound(xs, x), before = Math.max(0, i - 1);
    return figure(ys[i < xs.length && Math.abs(xs[i] - x) < Math.abs(xs[before] - x) ? i : before]);
  });
  put(chart.now, values.join(" \u00b7 ") + (chart.lines.length > 4 ? " ..." : ""));
}
