// Texts beside the map. They change a few times a second at most: nobody reads faster.
const NEEDS = ["hunger", "hygiene", "energy"], NEWS = 7, BACK = 40;
const cards = [], lines = [], details = [], parts = [];

function buildSide(follow) {
  people.forEach((person, k) => {
    const card = make("button", "person"), right = make("span"), what = make("span", "what");
    const name = make("span", "name", person.name), bars = [];
    card.title = person.name;
    right.append(what);
    if (town) {
      const row = make("span", "bars");
      NEEDS.forEach(() => {
        const bar = make("span", "bar"), fill = make("i");
        bar.append(fill);
        row.append(bar);
        bars.push(fill);
      });
      right.append(row);
    }
    const dot = make("i", "dot");
    card.append(dot, name, right);
    card.addEventListener("click", () => follow(k));
    $("people").append(card);
    cards.push({ card, dot, what, bars });
  });
  for (let n = 0; n < NEWS; n++) {
    const line = make("li"), when = make("span"), what = make("b"), rest = make("span");
    line.append(when, what, rest);
    $("news").append(line);
    lines.push({ when, what, rest });
  }
  for (let n = 0; n < 12; n++) {
    const row = make("div"), label = make("span"), bar = make("span", "bar"), fill = make("i");
    const number = make("span", "number");
    bar.append(fill);
    row.append(label, bar, number);
    $("detail").append(row);
    details.push({ row, label, bar, fill, number });
  }
}

function showPeople(tick, followed) {
  cards.forEach(({ card, dot, what, bars }, k) => {
    const present = here(k, tick), row = tick - people[k].from, person = people[k];
    const pressed = String(k === followed);
    if (card.getAttribute("aria-pressed") !== pressed) card.setAttribute("aria-pressed", pressed);
    if (dot.shade !== person.colour()) dot.style.background = dot.shade = person.colour();
    mark(card, present ? "person" : "person away");
    if (!town) {
      const sum = totals[k][Math.max(0, Math.min(row, totals[k].length - 1))];
      const paid = present ? `reward ${figure(person.reward[row])}, ` : "done, ";
      put(what, row < 0 ? "not yet there" : `${paid}return ${figure(sum)}`);
      return;
    }
    put(what, present ? `${facts.words[person.doing[row]]}, ${person.wallet[row].toFixed(1)} meals`
      : "not in town");
    bars.forEach((fill, n) => {
      const share = present ? person[NEEDS[n]][row] / 10000 : 0;
      const scaled = `scaleX(${share.toFixed(2)})`;
      if (fill.scaled !== scaled) fill.style.transform = fill.scaled = scaled;
      mark(fill, share < 0.2 ? "bad" : share < 0.45 ? "low" : "");
    });
  });
}

const namesOf = (k) => people[k].actions || facts.actions;
const needsOf = (k, tick) => NEEDS.map((need) => `${need} ${(at(k, need, tick) / 10000).toFixed(2)}`).join(", ");

// Components of the reward of this tick, beside their colours.
function showParts(tick, k) {
  const row = tick - people[k].from, paid = people[k].parts && row > 0 && row < people[k].reward.length;
  parts.forEach((node, c) => put(node, paid ? figure(people[k].parts[row * people[k].parts.width + c]) : "-"));
}

// The tick in words, for those who hear the page.
function said(tick, k) {
  if (!town) return "";
  const doing = here(k, tick) ? `${facts.words[at(k, "doing", tick)]}, ${needsOf(k, tick)}` : "not in town";
  const news = lines.filter(({ when }) => parseInt(when.textContent, 10) === tick);
  return [doing, ...news.map(({ what, rest }) => what.textContent + rest.textContent)].join("; ");
}

function showNews(tick) {
  const { kind, kinds, by, other, object, value } = facts.events;
  let n = 0;
  const first = eventStart[Math.max(0, tick - BACK)];
  for (let e = eventStart[tick + 1] - 1; e >= first && n < NEWS; e--, n++) {
    const { when, what, rest } = lines[n];
    put(when, `${facts.events.tick[e]}  `);
    put(what, words(kinds[kind[e]]));
    const said = [by[e] >= 0 && people[by[e]].name, other[e] >= 0 && `and ${people[other[e]].name}`,
      object[e] >= 0 && `at ${words(facts.map.objects[object[e]].name)}`,
      value[e] && `(${figure(value[e], 2)})`];
    put(rest, ` ${said.filter(Boolean).join(" ")}`);
  }
  for (; n < NEWS; n++) for (const node of Object.values(lines[n])) put(node, "");
}

function showDetail(tick, k) {
  const known = facts.known[k], row = rowAt[k][tick], shown = [];
  if (town && here(k, tick)) shown.push([`${needsOf(k, tick)}; ${at(k, "wallet", tick).toFixed(2)} meals`, null, null]);
  put($("detail-title"), `${people[k].name}: what it knew and chose next`);
  if (known && row >= 0) {
    const n = known.action.width, action = known.action.subarray(row * n, (row + 1) * n);
    const named = n === 1 && namesOf(k)[action[0]] !== undefined;
    const chosen = named ? words(namesOf(k)[action[0]]) : Array.from(action, (v) => figure(v)).join(", ");
    const log = known.log_probs[row];
    shown.push([`chooses ${chosen}`, null, null]);
    if (!Number.isNaN(log)) shown.push([`probability of it ${Math.exp(log).toFixed(3)}`, null, null]);
    if (!Number.isNaN(known.values[row])) shown.push([`value ${figure(known.values[row], 4)}`, null, null]);
    for (let j = 0; known.likely && j < known.likely.width; j++) {
      const place = row * known.likely.width + j, share = known.probs[place] / 10000;
      if (share > 0) shown.push([words(namesOf(k)[known.likely[place]] ?? known.likely[place]), share, share.toFixed(3)]);
    }
    if (!town) {
      const { seen } = people[k], m = seen.width;
      const numbers = Array.from(seen.subarray(row * m, Math.min((row + 1) * m, row * m + 24)), (v) => figure(v));
      shown.push([`observes ${numbers.join("  ")}${m > 24 ? " ..." : ""}`, null, null]);
    }
  } else shown.push([here(k, tick) ? "nothing recorded for this tick" : "not there", null, null]);
  details.forEach(({ row: line, label, bar, fill, number }, n) => {
    const [text, share, chance] = shown[n] || ["", null, null];
    line.hidden = n >= shown.length;
    mark(line, share === null ? "long" : "");
    bar.hidden = share === null;
    if (share !== null) fill.style.transform = `scaleX(${share})`;
    put(label, text);
    put(number, chance || "");
  });
}
