// Of environments without a map: returns so far, and what was observed; both are drawn once.
const STAGE = 0.5;  // height of the returns by their width

function drawReturns(followed) {
  const [pen, w, h] = fitted($("ground"), STAGE);
  fitted($("stage"), STAGE);
  let low = 0, high = 0;
  for (const total of totals) for (const v of total) { low = Math.min(low, v); high = Math.max(high, v); }
  const X = (t) => (t / Math.max(1, facts.ticks - 1)) * (w - 8) + 4;
  const Y = (v) => h - 8 - ((v - low) / (high - low || 1)) * (h - 36);
  pen.strokeStyle = theme.line;
  pen.beginPath();
  pen.moveTo(0, Y(0));
  pen.lineTo(w, Y(0));
  pen.stroke();
  const step = Math.max(1, Math.floor(facts.ticks / w / 2));  // no more points than pixels
  totals.forEach((total, k) => {
    pen.strokeStyle = people[k].colour();
    pen.lineWidth = k === followed ? 3 : 1.3;
    pen.beginPath();
    for (let i = 0; i < total.length; i += step) pen.lineTo(X(people[k].from + i), Y(total[i]));
    pen.lineTo(X(people[k].from + total.length - 1), Y(total[total.length - 1]));
    pen.stroke();
  });
  pen.fillStyle = theme.soft;
  pen.font = "12px system-ui";
  pen.fillText(`${figure(low)} to ${figure(high)}`, 6, 13);
}

function drawReturnsHead(tick) {
  const canvas = $("stage"), w = canvas.clientWidth, h = canvas.clientHeight;
  const pen = canvas.getContext("2d"), x = (tick / Math.max(1, facts.ticks - 1)) * (w - 8) + 4;
  pen.clearRect(0, 0, w, h);
  pen.fillStyle = theme.ink;
  pen.fillRect(x - 0.5, 0, 1, h);
}

// One line of pixels per number, from its lowest (blue) to its highest (red) of the episode.
function drawSeen(followed) {
  const { seen, from } = people[followed], n = seen.width, rows = seen.length / n;
  const canvas = $("seen"), wide = Math.min(Math.max(canvas.clientWidth, 1), facts.ticks);
  canvas.width = wide;
  canvas.height = n;
  const pen = canvas.getContext("2d"), image = pen.createImageData(wide, n);
  const looks = facts.known[followed].looks;
  for (let i = 0; i < n; i++) {
    let low = Infinity, high = -Infinity;
    for (let row = 0; row < rows; row++) {
      const v = seen[row * n + i];
      if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
    }
    for (let x = 0; x < wide; x++) {
      const row = rowAt[followed][Math.min(facts.ticks - 1, Math.floor((x * facts.ticks) / wide))];
      if (row < 0) continue;
      const v = seen[row * n + i], share = high > low ? (v - low) / (high - low) : 0.5;
      const place = 4 * (i * wide + x);
      image.data[place] = 40 + 190 * share;
      image.data[place + 1] = 90 + 90 * (1 - Math.abs(2 * share - 1));
      image.data[place + 2] = 230 - 190 * share;
      image.data[place + 3] = Number.isFinite(v) ? 255 : 0;
    }
  }
  pen.putImageData(image, 0, 0);
  put($("seen-title"), `Observations of ${people[followed].name}: ${n} numbers, low blue, high red`);
}
