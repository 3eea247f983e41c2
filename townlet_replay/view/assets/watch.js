// Moving through the episode: play, scrub, keys, links. At most one drawing per frame.
const SPEEDS = [2, 8, 30, 120, 600], TEXTS = 90;  // milliseconds between two changes of the texts
const state = { tick: 0, follow: 0, playing: false, speed: 8, group: 0, frames: 0, slowest: 0,
  sentence: "", valued: "" };
const drawn = { tick: -1, follow: -1 };
let asked = false, last = 0, rest = 0, textAt = -1e9, linkTimer = 0;

function ask() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(frame);
}
function frame(now) {
  asked = false;
  const began = performance.now();
  if (state.playing) roll(now);
  const moved = drawn.tick !== state.tick || drawn.follow !== state.follow;
  if (moved) drawMoving();
  const stale = drawn.text !== `${state.tick} ${state.follow}`;
  if (stale && now - textAt >= TEXTS) {
    drawTexts();
    textAt = now;
  }
  state.frames += 1;
  state.slowest = Math.max(state.slowest, performance.now() - began);
  if (state.playing || drawn.text !== `${state.tick} ${state.follow}`) ask();
}

function drawMoving() {
  const { tick, follow } = state;
  if (!town && drawn.follow !== follow) {
    drawReturns(follow);
    drawSeen(follow);
  }
  if (town) drawTown(tick, follow);
  else {
    drawReturnsHead(tick);
    const share = (tick + 0.5) / facts.ticks;
    $("seen-head").style.transform = `translateX(${share * $("seen").clientWidth}px)`;
  }
  drawRewards(tick, follow);
  moveHead(tick);
  drawn.tick = tick;
  drawn.follow = follow;
}
function drawTexts() {
  const { tick, follow } = state;
  showPeople(tick, follow);
  if (town) showNews(tick);
  showDetail(tick, follow);
  put($("rewards-title"), state.sentence);
  const minute = town ? facts.clock[tick] : null, two = (v) => String(v).padStart(2, "0");
  const time = minute === null ? "" : `, ${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
  const when = `tick ${tick} of ${facts.ticks - 1}${time}`;
  put($("clock"), when);
  put($("values"), state.valued);
  $("line").setAttribute("aria-valuenow", tick);
  $("line").setAttribute("aria-valuetext", when);
  showParts(tick, follow);
  tell();
  drawn.text = `${tick} ${follow}`;
}
// Quiet while it plays: nobody can listen as fast.
function tell() {
  if (state.playing) return;
  put($("said"), `${$("clock").textContent}. ${state.sentence}. ${said(state.tick, state.follow)}`);
}
function drawAll() {
  if (town) drawMap();
  drawLine();
  drawn.tick = drawn.follow = -1;
  drawn.text = "";
  ask();
}

// Browsers allow few changes of the address; it follows when things have come to rest.
function link() {
  clearTimeout(linkTimer);
  linkTimer = setTimeout(() => {
    const who = encodeURIComponent(people[state.follow].name);
    history.replaceState(null, "", `#tick=${state.tick}&follow=${who}`);
  }, 200);
}
function goto(tick) {
  state.tick = clamped(tick);
  if (!state.playing) link();
  ask();
}
function follow(k) {
  if (!people[k]) return;
  state.follow = k;
  link();
  ask();
}
function roll(now) {
  rest += (Math.min(now - last, 250) / 1000) * state.speed;
  last = now;
  const whole = Math.floor(rest);
  rest -= whole;
  if (whole > 0) state.tick = clamped(state.tick + whole);
  if (state.tick >= facts.ticks - 1) play(false);
}
function play(on) {
  state.playing = on;
  put($("play"), on ? "\u275a\u275a" : "\u25b6");
  if (!on) {
    tell();
    return link();
  }
  if (state.tick >= facts.ticks - 1) state.tick = 0;
  last = performance.now();
  rest = 0;
  ask();
}
function jump(step) {
  if (!groups.length) return;
  const found = neighbour(groups[state.group], state.tick, step);
  if (found !== undefined) goto(found);
}
function choose(g) {
  state.group = g;
  [...$("groups").children].forEach((node, k) => node.setAttribute("aria-pressed", String(k === g)));
  for (const id of ["prev", "next"]) put($(id).querySelector("span"), groups[g].name);
}
function speed(value) { state.speed = value; $("speed").value = String(value); }

function readAddress() {
  const to = new URLSearchParams(location.hash.slice(1)), tick = parseInt(to.get("tick"), 10);
  const who = people.findIndex((person) => person.name === to.get("follow"));
  if (who >= 0) state.follow = who;
  if (!Number.isNaN(tick)) state.tick = clamped(tick);
  ask();
}

const KEYS = { " ": () => play(!state.playing), n: () => jump(1), p: () => jump(-1),
  ArrowLeft: (event) => goto(state.tick - (event.shiftKey ? 10 : 1)),
  ArrowRight: (event) => goto(state.tick + (event.shiftKey ? 10 : 1)),
  Home: () => goto(0), End: () => goto(facts.ticks - 1), "+": () => zoom(0.5, state.tick),
  "-": () => zoom(2, state.tick), f: () => follow((state.follow + 1) % people.length),
  "?": () => $("help").showModal() };
const LINE_KEYS = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };

function listen() {
  $("play").addEventListener("click", () => play(!state.playing));
  $("back").addEventListener("click", () => goto(state.tick - 1));
  $("on").addEventListener("click", () => goto(state.tick + 1));
  $("prev").addEventListener("click", () => jump(-1));
  $("next").addEventListener("click", () => jump(1));
  $("ask").addEventListener("click", KEYS["?"]);
  $("speed").addEventListener("change", () => speed(Number($("speed").value)));
  const line = $("line");
  line.addEventListener("pointerdown", (event) => {
    line.setPointerCapture(event.pointerId);
    goto(tickAt(event.clientX));
  });
  line.addEventListener("pointermove", (event) => { if (event.buttons) goto(tickAt(event.clientX)); });
  line.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY < 0 ? 0.8 : 1.25, tickAt(event.clientX));
  }, { passive: false });
  line.addEventListener("dblclick", () => { setRange(0, facts.ticks); moveHead(state.tick); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if ($("help").open) {  // a dialog keeps its keys
      if (event.key === "?") $("help").close();
      return;
    }
    const { tagName } = event.target;  // what has the focus keeps the keys that are its own
    if (tagName === "SELECT" || (tagName === "BUTTON" && event.key === " ")) return;
    if (event.key >= "1" && event.key <= "5") speed(SPEEDS[event.key - 1]);
    else if (event.target === line && Object.hasOwn(LINE_KEYS, event.key)) goto(state.tick + LINE_KEYS[event.key]);
    else if (Object.hasOwn(KEYS, event.key)) KEYS[event.key](event);
    else return;
    event.preventDefault();
  });
  document.addEventListener("click", (event) => {  // a mouse leaves no focus on buttons
    if (event.detail && document.activeElement.tagName === "BUTTON") document.activeElement.blur();
  });
  let width = innerWidth;
  window.addEventListener("resize", () => {
    if (width !== innerWidth) { width = innerWidth; drawAll(); }
  });
  window.addEventListener("hashchange", readAddress);
  if (town) listenToMap(follow);
  onTheme(drawAll);
  for (const [name, paper] of [["beforeprint", true], ["afterprint", false]]) {
    window.addEventListener(name, () => {  // dark ink on white paper
      document.documentElement.classList.toggle("printed", paper);
      readTheme();
      drawAll();
      drawMoving();
      drawTexts();
    });
  }
}

function fill() {
  put($("title"), `${words(facts.title)}, episode ${facts.episode}`);
  put($("subtitle"), facts.subtitle);
  put($("note"), facts.note);
  $("seen-card").hidden = town;
  $("news-card").hidden = !town;
  if (!town) {
    put($("stage-title"), "Return so far, by agent");
    put($("people-title"), "Agents");
  }
  groups.forEach((group, g) => {
    const node = chip("button", theme[group.shade], `${group.name} ${group.ticks.length}`);
    node.addEventListener("click", () => choose(g));
    $("groups").append(node);
  });
  if (groups.length) choose(0);
  else $("prev").hidden = $("next").hidden = true;
  facts.components.forEach((name, c) => {
    const node = chip("span", colour(c + 1), words(name)), number = make("span", "number");
    node.append(number);
    $("components").append(node);
    parts.push(number);
  });
  if (town) showLegend();
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) speed(SPEEDS[0]);
  $("line").setAttribute("aria-valuemin", 0);
  $("line").setAttribute("aria-valuemax", facts.ticks - 1);
}

async function start() {
  useFacts(await readFacts());
  readTheme();
  buildSide(follow);
  fill();
  setRange(0, facts.ticks);
  listen();
  drawAll();
  readAddress();
  window.townlet = { state, facts, goto, follow, play, jump, speed, zoom, range };
}
start();
