// The timeline: a lane for every group of events, drawn once per zoom; only the head moves.
const range = { from: 0, to: 1 };  // ticks at its edges

const lineWidth = () => Math.max(1, $("line").clientWidth);
const placeOf = (tick) => ((tick - range.from) / Math.max(1, range.to - range.from)) * lineWidth();
function tickAt(clientX) {
  const box = $("line").getBoundingClientRect();
  return range.from + ((clientX - box.left) / Math.max(1, box.width)) * (range.to - range.from);
}

function drawLine() {
  const [pen, w, h] = fitted($("marks"));
  pen.fillStyle = theme.line;
  pen.fillRect(0, h / 2 - 1, w, 2);
  const lanes = Math.max(1, groups.length), lane = h / lanes;
  groups.forEach(({ shade, ticks }, g) => {
    const counts = new Uint16Array(Math.ceil(w) + 1);  // by column of pixels
    for (const t of ticks) {
      const x = Math.floor(placeOf(t));
      if (x >= 0 && x < counts.length) counts[x] += 1;
    }
    pen.fillStyle = theme[shade];
    counts.forEach((count, x) => {
      if (!count) return;
      pen.globalAlpha = Math.min(1, 0.55 + 0.15 * count);
      pen.fillRect(x, g * lane + 1, 1.5, lane - 2);
    });
  });
  pen.globalAlpha = 1;
}

function moveHead(tick) {
  const inside = tick >= range.from && tick <= range.to;
  if (!inside) {
    const span = range.to - range.from;
    setRange(tick - span / 2, span);
  }
  $("head").style.transform = `translateX(${placeOf(tick)}px)`;
}

function setRange(from, span) {
  const whole = Math.max(1, facts.ticks - 1);
  span = Math.min(whole, Math.max(20, span));
  range.from = Math.min(Math.max(0, from), whole - span);
  range.to = range.from + span;
  drawLine();
}

// Zoom by `factor` so that `tick` stays where it is.
function zoom(factor, tick) {
  const span = (range.to - range.from) * factor, share = (tick - range.from) / (range.to - range.from);
  setRange(tick - share * Math.min(span, facts.ticks - 1), span);
  moveHead(state.tick);
}
