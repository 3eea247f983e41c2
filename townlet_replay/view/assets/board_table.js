// The newest epoch of every log, and what left its limits lately.
const rows = [];

function buildTable() {
  const head = $("newest").createTHead().insertRow(), body = $("newest").createTBody();
  for (const text of ["figure", ...facts.logs, "meaning"]) head.append(make("th", "", text));
  for (const [key, meaning] of facts.keys) {
    const row = body.insertRow();
    row.append(make("th", "", key));
    const cells = facts.logs.map(() => make("td", "number"));
    row.append(...cells, make("td", "what", meaning));
    rows.push({ key, row, cells });
  }
}

function showTable() {
  for (const { key, row, cells } of rows) {
    let known = false;
    logs.forEach((log, k) => {
      const column = log.columns.get(key), value = column ? column[column.length - 1] : log.words[key];
      const missing = value === null || value === undefined || Number.isNaN(value);
      known = known || !missing;
      const whole = typeof value === "number" && Number.isInteger(value);
      put(cells[k], missing ? "-" : typeof value === "number" && !whole ? figure(value, 4) : String(value));
      const over = facts.limits.some((limit) => limit.key === key && beyond(limit, value));
      mark(cells[k], over ? "number beyond" : "number");
    });
    row.hidden = !known;
  }
}

function showAlarms() {
  const count = logs.reduce((sum, log) => sum + log.alarms, 0);
  $("alarm-card").hidden = !count;
  put($("alarm-title"), `Beyond their limits: ${count} figures; the newest`);
  const texts = logs.flatMap((log) => log.newestAlarms.slice(-3)), box = $("alarms");
  while (box.children.length < texts.length) box.append(make("p", "said"));
  [...box.children].forEach((node, k) => { put(node, texts[k] || ""); node.hidden = k >= texts.length; });
}
