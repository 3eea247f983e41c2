"use strict";
// What every page has: facts that are read, colours, canvases, texts that are only texts.
const $ = (id) => document.getElementById(id);
const words = (id) => String(id).replaceAll("_", " ");
const ARRAYS = { i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array,
  u4: Uint32Array, f4: Float32Array, f8: Float64Array };

async function inflated(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let k = 0; k < letters.length; k++) bytes[k] = letters.charCodeAt(k);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function revived(value, buffer) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((inner) => revived(inner, buffer));
  if (Array.isArray(value.$)) {
    const [kind, offset, elements, width] = value.$;
    const array = new ARRAYS[kind](buffer, offset, elements);
    array.width = width;
    return array;
  }
  for (const key of Object.keys(value)) value[key] = revived(value[key], buffer);
  return value;
}

async function readFacts() {
  const buffer = await inflated($("columns").textContent.trim());
  const facts = revived(JSON.parse($("facts").textContent), buffer);
  $("columns").remove();  // megabytes that nobody needs any more
  return facts;
}

// Style is asked for once, not at every frame.
const theme = {};
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "soft", "line", "paper", "card", "accent", "red", "green", "amber",
    "violet", "tone"]) theme[name] = style.getPropertyValue(`--${name}`).trim();
}
function onTheme(redraw) {
  readTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readTheme(); redraw(); });
}
// Neighbours in a list are far apart on the wheel of hues.
const colour = (k, tone = theme.tone) => `hsl(${Math.round(212 + k * 137.508) % 360} 62% ${tone})`;

function fitted(canvas, ratio) {
  const width = canvas.parentElement.clientWidth, dense = window.devicePixelRatio || 1;
  const height = ratio ? Math.round(width * ratio) : canvas.clientHeight;
  const w = Math.round(width * dense), h = Math.round(height * dense);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    if (ratio) canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, width, height);
  return [pen, width, height];
}

function make(tag, kind, text) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
}
// Writes only what changed: layout is the dearest part of a frame.
function put(node, text) {
  if (node.shown !== text) { node.shown = text; node.textContent = text; }
}
function mark(node, kind) { if (node.className !== kind) node.className = kind; }
function chip(tag, shade, text) {
  const node = make(tag, tag === "button" ? "chip" : "chip plain"), dot = make("i");
  dot.style.background = shade;
  node.append(dot, text);
  return node;
}
function figure(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "-";
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(1);
  return String(Number(value.toPrecision(digits)));
}
