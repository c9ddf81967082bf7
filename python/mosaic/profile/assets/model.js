"use strict";
// What the page is drawn and written from, and numbers for people.
// Everything that comes from the profile is shown as text: no markup is ever made from it.

const $ = (id) => document.getElementById(id);
const UNITS = [[1e6, "s"], [1e3, "ms"], [1, "µs"], [1e-3, "ns"]];

async function load() {
  const packed = Uint8Array.from(atob($("data").textContent.trim()), (c) => c.charCodeAt(0));
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(plain).text());
  for (const group of ["runs", "moved", "spans"]) {
    for (const [name, text] of Object.entries(data[group])) {
      const bytes = Uint8Array.from(atob(text.slice(2)), (c) => c.charCodeAt(0));
      const kind = text.startsWith("f8") ? Float64Array : Int32Array;
      data[group][name] = new kind(bytes.buffer);
    }
  }
  return data;
}

/** The first index whose value is not below. */
function lower(count, valueAt, wanted) {
  let low = 0, high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (valueAt(middle) < wanted) low = middle + 1; else high = middle;
  }
  return low;
}

const passed = (from, to) => (to > from ? to - from : 0); // NaN gives 0

/** What the page is drawn and written from. */
function model(data) {
  const { runs, processes } = data;
  const count = runs.began.length;
  const ends = new Float64Array(count), free = new Float64Array(count).fill(-Infinity);
  const lanes = processes.map((process, at) => ({ process, at, rows: [], made: [], depths: [] }));
  for (let i = 0; i < count; i++) {
    const host = runs.host[i];
    ends[i] = Number.isNaN(runs.done[i]) ? (host < 0 ? runs.began[i] : processes[host].last) : runs.done[i];
    if (runs.caller[i] >= 0 && !Number.isNaN(runs.created[i])) lanes[runs.caller[i]].made.push(runs.created[i]);
    if (host < 0 || Number.isNaN(runs.began[i])) continue;
    const rows = lanes[host].rows;
    while (rows.length <= runs.row[i]) rows.push([]);
    const row = rows[runs.row[i]];
    if (row.length) free[i] = ends[row[row.length - 1]];
    row.push(i);
  }
  for (const lane of lanes) lane.made.sort((a, b) => a - b);
  const { spans } = data;
  for (let i = 0; i < spans.start.length; i++) {
    if (spans.process[i] < 0) continue;
    const depths = lanes[spans.process[i]].depths;
    while (depths.length <= spans.depth[i]) depths.push([]);
    depths[spans.depth[i]].push(i);
  }
  const begins = runs.began.filter((time) => !Number.isNaN(time));
  const closes = ends.filter((_, i) => !Number.isNaN(runs.began[i])).sort();
  return { data, runs, spans, count, ends, free, lanes, begins, closes };
}

function time(micros) {
  if (!micros) return "0";
  const [factor, unit] = UNITS.find(([factor]) => Math.abs(micros) >= factor * 0.9995) ?? UNITS[3];
  const value = micros / factor;
  return `${value < 999.5 ? value.toPrecision(3) : Math.round(value)} ${unit}`;
}

function size(bytes) {
  let unit = 0;
  while (bytes >= 999.5 && unit < 4) { bytes /= 1000; unit++; }
  return `${unit ? bytes.toPrecision(3) : bytes} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

const number = (value) => value.toLocaleString("en");
const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

function colours(count) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const first = ["#4269d0", "#e08a1e", "#3ca951", "#d64f6f", "#8e59c7", "#2a9d9d", "#9c6b4e", "#b5a11f", "#5aa5e8", "#c94fb8"];
  return Array.from({ length: count }, (_, i) =>
    i < first.length ? first[i] : `hsl(${(i * 137.5) % 360} 52% ${dark ? 58 : 47}%)`);
}

/** The parts of a call's time, in microseconds. */
function phases({ runs }, i) {
  return {
    sending: passed(runs.created[i], runs.queued[i]),
    waiting: passed(runs.queued[i], runs.ended[i]),
    transfer: passed(runs.ended[i], runs.ready[i]) + passed(runs.began[i], runs.ran[i]) + passed(runs.returned[i], runs.done[i]),
    queueing: passed(runs.ready[i], runs.began[i]),
    running: passed(runs.ran[i], runs.returned[i]),
  };
}
