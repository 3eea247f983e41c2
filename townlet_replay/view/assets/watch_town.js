// The map: walls and objects are drawn once, people and what binds them whenever they move.
let cellSize = 0;
const TALLEST = 0.8;  // height of the map by that of the window
const dotSize = () => Math.max(4, cellSize * 0.42);

function drawMap() {
  const { width, height, walls, objects } = facts.map;
  $("ground").parentElement.style.maxWidth = `${Math.round((TALLEST * innerHeight * width) / height)}px`;
  const [pen, w] = fitted($("ground"), height / width), size = cellSize = w / width;
  pen.fillStyle = theme.paper;
  pen.fillRect(0, 0, w, height * size);
  pen.fillStyle = theme.line;
  walls.forEach((row, y) => {
    for (let x = 0; x < width; x++) {
      if (row[x] === "#") pen.fillRect(x * size, y * size, size + 0.5, size + 0.5);
    }
  });
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.font = `600 ${Math.max(7, size * 0.5)}px system-ui`;
  for (const o of objects) {
    pen.fillStyle = shadeOf(o.kind);
    pen.fillRect(o.x * size + 1, o.y * size + 1, size - 2, size - 2);
    pen.fillStyle = "#fff";
    if (size >= 11) pen.fillText(signOf(o.kind), (o.x + 0.5) * size, (o.y + 0.55) * size);
  }
  fitted($("stage"), height / width);
}

// The first letter, and the first one that sets it apart where kinds begin alike.
const kindsOf = () => [...new Set(facts.map.objects.map((o) => o.kind))];
function signOf(kind) {
  const alike = kindsOf().filter((other) => other !== kind && other[0] === kind[0]);
  const apart = [...kind].findIndex((letter, k) => alike.every((other) => other[k] !== letter));
  return kind[0].toUpperCase() + (alike.length ? kind[Math.max(1, apart)] || "" : "");
}
const shadeOf = (kind) => `hsl(${(kindsOf().indexOf(kind) * 360) / kindsOf().length} 28% 35%)`;

function showLegend() {
  for (const kind of kindsOf()) $("legend").append(chip("span", shadeOf(kind), `${signOf(kind)} ${words(kind)}`));
  for (const text of ["green line: trust", "red line: rivalry", "dotted: waits for",
    "full: uses or has reserved", "number: how many wait"]) $("legend").append(make("span", "keys", text));
  $("legend").hidden = false;
}

// What stands where the pointer is, and a click follows whoever does.
function listenToMap(follow) {
  const found = (event) => {
    const box = $("stage").getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / cellSize), y = Math.floor((event.clientY - box.top) / cellSize);
    const there = people.map((_, k) => k).filter((k) => here(k, state.tick) &&
      at(k, "x", state.tick) === x && at(k, "y", state.tick) === y);
    const things = facts.map.objects.filter((o) => o.x === x && o.y === y);
    return [there, [...there.map((k) => people[k].name), ...things.map((o) => words(o.name))].join(", ")];
  };
  $("stage").addEventListener("pointermove", (event) => { $("stage").title = found(event)[1]; });
  $("stage").addEventListener("click", (event) => {
    const [there] = found(event);
    if (there.length) follow(there[(there.indexOf(state.follow) + 1) % there.length]);
  });
}

function drawTown(tick, followed) {
  const canvas = $("stage"), pen = canvas.getContext("2d"), size = cellSize, { objects } = facts.map;
  const middle = (v) => (v + 0.5) * size;
  pen.clearRect(0, 0, facts.map.width * size, facts.map.height * size);
  const there = [], bySlot = [];
  for (let k = 0; k < people.length; k++) {
    if (!here(k, tick)) continue;
    const row = tick - people[k].from, person = people[k];
    const spot = { k, x: middle(person.x[row]), y: middle(person.y[row]),
      line: person.line[row], uses: person.uses[row] };
    there.push(spot);
    bySlot[person.slot] = spot;
  }
  drawTies(pen, tick, bySlot);
  for (const { k, x, y, line, uses } of there) {
    const target = line >= 0 ? line : uses;
    if (target < 0) continue;
    pen.strokeStyle = people[k].colour();
    pen.lineWidth = 2;
    pen.setLineDash(line >= 0 ? [3, 3] : []);
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(middle(objects[target].x), middle(objects[target].y));
    pen.stroke();
  }
  pen.setLineDash([]);
  for (const { k, x, y } of there) {
    pen.fillStyle = people[k].colour();
    pen.beginPath();
    pen.arc(x, y, dotSize(), 0, 7);
    pen.fill();
    if (k === followed) {
      pen.strokeStyle = theme.ink;
      pen.lineWidth = 2.5;
      pen.stroke();
    }
  }
  drawLines(pen, there, middle);
  drawNames(pen, there, followed);
}

function drawTies(pen, tick, bySlot) {
  for (const [kind, shade, side] of [["trust", theme.green, 2.5], ["rivalry", theme.red, -2.5]]) {
    const { a, b, strength } = facts.ties[kind];
    pen.strokeStyle = shade;
    for (let pair = 0; pair < a.length; pair++) {
      const one = bySlot[a[pair]], other = bySlot[b[pair]];
      const tie = strength[pair * facts.ticks + tick] / 255;
      if (!tie || !one || !other) continue;
      pen.globalAlpha = 0.25 + 0.6 * tie;
      pen.lineWidth = 1 + 3 * tie;
      pen.beginPath();
      const long = Math.hypot(other.x - one.x, other.y - one.y) || 1;
      const dx = (side * (one.y - other.y)) / long, dy = (side * (other.x - one.x)) / long;
      pen.moveTo(one.x + dx, one.y + dy);
      pen.lineTo(other.x + dx, other.y + dy);
      pen.stroke();
    }
  }
  pen.globalAlpha = 1;
}

// How many wait for an object, where more than one does.
function drawLines(pen, there, middle) {
  const waiting = new Map();
  for (const { line } of there) if (line >= 0) waiting.set(line, (waiting.get(line) || 0) + 1);
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.font = "600 10px system-ui";
  for (const [line, count] of waiting) {
    const o = facts.map.objects[line], x = middle(o.x) + cellSize * 0.5, y = middle(o.y) - cellSize * 0.5;
    pen.fillStyle = theme.ink;
    pen.beginPath();
    pen.arc(x, y, 7, 0, 7);
    pen.fill();
    pen.fillStyle = theme.card;
    pen.fillText(String(count), x, y + 0.5);
  }
}

// Names go where there is room: above, below, right, left; who finds none stays without one.
const widths = [];
function drawNames(pen, there, followed) {
  const font = Math.min(14, Math.max(10, cellSize * 0.7)), high = font + 1, half = dotSize();
  const dots = there.map(({ x, y }) => [x - half, y - half, 2 * half, 2 * half]), taken = [];
  const apart = (left, top, wide, box) => left > box[0] + box[2] || left + wide < box[0] ||
    top > box[1] + box[3] || top + high < box[1];
  pen.font = `${font}px system-ui`;
  pen.textAlign = "left";
  pen.textBaseline = "top";
  pen.lineJoin = "round";
  const order = [...there].sort((p, q) => (q.k === followed) - (p.k === followed));
  for (const { k, x, y } of order) {
    const name = people[k].name.slice(0, 24), gap = half + 2;
    if (!widths[k] || widths[k][0] !== font) widths[k] = [font, pen.measureText(name).width];
    const wide = widths[k][1];
    const spots = [[x - wide / 2, y - gap - high], [x - wide / 2, y + gap], [x + gap, y - high / 2],
      [x - gap - wide, y - high / 2]];
    const clear = (boxes) => ([left, top]) => boxes.every((box) => apart(left, top, wide, box));
    const free = spots.filter(clear(taken)).find(clear(dots));
    if (!free) continue;
    taken.push([free[0], free[1], wide, high]);
    pen.strokeStyle = theme.paper;
    pen.lineWidth = 3;
    pen.strokeText(name, free[0], free[1]);
    pen.fillStyle = theme.ink;
    pen.fillText(name, free[0], free[1]);
  }
}
