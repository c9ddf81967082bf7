// The timeline: a lane for each process, drawn anew for each view, of what is in view only.

const AXIS = 26, GUTTER = 132, GAP = 14, MADE = 7, SPAN = 13, MARGIN = 14;
const ZOOM = 1.25, KEY_STEP = 0.15, SHORTEST_VIEW = 0.5; // µs

class Timeline {
  constructor(shown, palette) {
    Object.assign(this, shown, { shown, palette });
    this.canvas = $("timeline");
    this.pen = this.canvas.getContext("2d");
    this.whole = [0, Math.max(this.data.duration, 1)];
    this.from = this.whole[0];
    this.to = this.whole[1];
    this.hidden = new Uint8Array(this.data.names.length);
    this.spanColours = colours(this.data.spanNames.length);
    this.hover = null;
    this.kept = null;
    this.place();
    this.listen();
    this.readAddress();
  }

  /** Where each lane lies. */
  place() {
    let top = AXIS;
    this.bands = [];
    for (const lane of this.lanes) {
      lane.top = top;
      // Plain calls are all in the first row.
      const others = lane.rows.length > 16 ? 6 : lane.rows.length > 6 ? 10 : 22;
      if (lane.made.length) { this.bands.push({ kind: "made", lane, top, height: MADE }); top += MADE + 3; }
      lane.rows.forEach((row, at) => {
        const height = at ? others : 22;
        this.bands.push({ kind: "row", lane, row, top, height });
        top += height + 2;
      });
      lane.depths.forEach((row) => { this.bands.push({ kind: "spans", lane, row, top, height: SPAN }); top += SPAN + 1; });
      lane.bottom = Math.max(top, lane.top + 20);
      top = lane.bottom + GAP;
    }
    this.height = top - GAP + 6;
    this.canvas.style.height = `${this.height}px`;
  }

  x(time) { return GUTTER + ((time - this.from) / (this.to - this.from)) * this.breadth; }
  timeAt(x) { return this.from + ((x - GUTTER) / this.breadth) * (this.to - this.from); }

  view(from, to) {
    const [low, high] = this.whole, most = high - low;
    const length = Math.min(Math.max(to - from, SHORTEST_VIEW), most * 1.02);
    const middle = (from + to) / 2;
    from = Math.min(Math.max(middle - length / 2, low - most * 0.01), high + most * 0.01 - length);
    this.from = from;
    this.to = from + length;
    this.ask();
  }

  zoom(factor, x) {
    const at = this.timeAt(x ?? GUTTER + this.breadth / 2);
    this.view(at - (at - this.from) * factor, at + (this.to - at) * factor);
  }

  pan(share) {
    const by = (this.to - this.from) * share;
    this.view(this.from + by, this.to + by);
  }

  ask() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.draw(); });
  }

  /** Draw what is in view, and of what falls on one pixel the first. */
  draw() {
    const style = getComputedStyle(document.documentElement);
    this.ink = (name) => style.getPropertyValue(`--${name}`).trim();
    const scale = devicePixelRatio || 1, width = this.canvas.clientWidth;
    this.breadth = Math.max(width - GUTTER - MARGIN, 50);
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(this.height * scale);
    const { pen } = this;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, this.height);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    this.drawAxis(width);
    pen.save();
    pen.beginPath();
    pen.rect(GUTTER, AXIS, this.breadth + 1, this.height);
    pen.clip();
    for (const band of this.bands) this.drawBand(band);
    if (this.kept) this.mark(this.kept, 2);
    if (this.hover) this.mark(this.hover, 1.5);
    pen.restore();
    this.drawLabels(width);
    const begun = lower(this.begins.length, (i) => this.begins[i], this.to);
    const over = lower(this.closes.length, (i) => this.closes[i], this.from);
    $("shown").textContent = `${number(Math.max(begun - over, 0))} of ${number(this.count)} calls in view, ` +
      `${time(Math.max(this.from, 0))} to ${time(this.to)}.`;
  }

  drawAxis(width) {
    const { pen } = this, length = this.to - this.from;
    const rough = length / Math.max(2, this.breadth / 110);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= rough) ?? rough;
    pen.fillStyle = this.ink("soft");
    pen.strokeStyle = this.ink("line");
    pen.lineWidth = 1;
    const [factor, unit] = UNITS.find(([factor]) => step >= factor * 0.999) ?? UNITS[3];
    const digits = Math.max(0, -Math.floor(Math.log10(step / factor) + 1e-9));
    pen.textAlign = "center";
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      const x = Math.round(this.x(at)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, AXIS - 6);
      pen.lineTo(x, this.height);
      pen.stroke();
      if (x < width - 20) pen.fillText(`${(at / factor).toFixed(digits)} ${unit}`, x, AXIS / 2 - 3);
    }
    pen.textAlign = "left";
  }

  drawLabels(width) {
    const { pen } = this;
    for (const lane of this.lanes) {
      pen.fillStyle = this.ink("ink");
      pen.font = "600 12px system-ui, sans-serif";
      pen.fillText(lane.process.uid, 2, lane.top + 9, GUTTER - 12);
      pen.fillStyle = this.ink("soft");
      pen.font = "11px system-ui, sans-serif";
      if (lane.bottom - lane.top >= 30) pen.fillText(`pid ${lane.process.pid}`, 2, lane.top + 24, GUTTER - 12);
      pen.strokeStyle = this.ink("line");
      pen.beginPath();
      pen.moveTo(0, lane.bottom + GAP / 2 + 0.5);
      pen.lineTo(width, lane.bottom + GAP / 2 + 0.5);
      pen.stroke();
    }
  }

  drawBand(band) {
    if (band.kind === "made") this.drawMade(band);
    else if (band.kind === "row") this.drawRow(band);
    else this.drawSpans(band);
  }

  /** When a process made calls. */
  drawMade({ lane, top, height }) {
    const { pen } = this, { made } = lane;
    pen.fillStyle = this.ink("accent");
    pen.globalAlpha = 0.55;
    let i = lower(made.length, (at) => made[at], this.from);
    while (i < made.length && made[i] <= this.to) {
      const x = Math.floor(this.x(made[i]));
      pen.fillRect(x, top, 1, height);
      const next = this.timeAt(x + 1);
      i = Math.max(i + 1, lower(made.length, (at) => made[at], next));
    }
    pen.globalAlpha = 1;
  }

  drawRow({ row, top, height }) {
    const { runs, ends, free } = this;
    // The last that began before the view may reach into it, and the first after it may wait in it.
    let at = Math.max(0, lower(row.length, (k) => runs.began[row[k]], this.from) - 1);
    let edge = -Infinity;
    while (at < row.length) {
      const i = row[at];
      const waits = Math.max(runs.queued[i] || runs.began[i], free[i]);
      if (waits > this.to) break;
      const right = this.x(ends[i]);
      if (right >= edge) {
        this.drawRun(i, waits, top, height, edge);
        edge = Math.max(right, Math.max(this.x(runs.began[i]), edge) + 1);
      }
      // What ends within the pixel that was drawn last is not seen.
      const behind = right < edge ? lower(row.length, (k) => ends[row[k]], this.timeAt(edge)) : 0;
      at = Math.max(at + 1, behind);
    }
  }

  drawRun(i, waits, top, height, edge) {
    const { runs, ends, pen } = this;
    const name = runs.callee[i], dim = this.hidden[name] ? 0.12 : 1;
    const bar = (from, to, alpha, least) => {
      if (!(to >= from)) return;
      const left = Math.max(this.x(from), edge, GUTTER - 2);
      const right = Math.max(Math.min(this.x(to), GUTTER + this.breadth + 2), left + least);
      pen.globalAlpha = alpha * dim;
      pen.fillRect(left, top, right - left, height);
    };
    pen.fillStyle = this.palette[name];
    const { began } = runs;
    if (waits < began[i]) {
      bar(waits, began[i], 0.24, 0);
      bar(Math.max(waits, runs.ended[i]), runs.ready[i], 0.4, 0);
    }
    const code = Number.isNaN(runs.returned[i]) ? ends[i] : runs.returned[i];
    bar(began[i], runs.ran[i], 0.6, 0);
    bar(runs.ran[i], code, 1, 1);
    bar(code, ends[i], 0.6, 0);
    pen.globalAlpha = dim;
    const left = Math.max(this.x(began[i]), GUTTER), right = Math.min(this.x(ends[i]), GUTTER + this.breadth);
    if (runs.status[i] > 0 && runs.status[i] !== this.data.unfinished) {
      pen.strokeStyle = this.ink("bad");
      pen.lineWidth = 2;
      pen.strokeRect(left + 1, top + 1, Math.max(right - left - 2, 1), height - 2);
    }
    if (right - left > 34 && height >= 14) this.write(this.data.names[name], left, right, top + height / 2);
    pen.globalAlpha = 1;
  }

  write(text, left, right, y) {
    const { pen } = this;
    pen.save();
    pen.beginPath();
    pen.rect(left, y - 10, right - left - 4, 20);
    pen.clip();
    pen.fillStyle = "#fff";
    pen.fillText(text, left + 5, y + 0.5);
    pen.restore();
  }

  drawSpans({ row, top, height }) {
    const { spans, pen } = this, { start, end } = spans;
    let at = Math.max(0, lower(row.length, (k) => start[row[k]], this.from) - 1), edge = -Infinity;
    while (at < row.length && start[row[at]] <= this.to) {
      const i = row[at], left = Math.max(this.x(start[i]), edge, GUTTER - 2);
      const right = Math.max(Math.min(this.x(end[i]), GUTTER + this.breadth + 2), left + 0.7);
      if (end[i] >= this.from) {
        pen.fillStyle = this.spanColours[spans.function[i]] ?? "#888";
        pen.globalAlpha = 0.75;
        pen.fillRect(left, top, right - left, height);
        pen.globalAlpha = 1;
        if (right - left > 40) this.write((this.data.spanNames[spans.function[i]] ?? "").split(" (")[0], Math.max(left, GUTTER), right, top + height / 2);
      }
      edge = right;
      at = Math.max(at + 1, lower(row.length, (k) => start[row[k]], this.timeAt(edge)));
    }
  }

  /** Frame a run, and draw the way from its caller. */
  mark({ i, band }, width) {
    const { runs, pen, ends } = this;
    const left = this.x(runs.began[i]), right = Math.max(this.x(ends[i]), left + 2);
    pen.strokeStyle = this.ink("ink");
    pen.lineWidth = width;
    pen.strokeRect(left - 0.5, band.top - 0.5, right - left + 1, band.height + 1);
    const caller = this.lanes[runs.caller[i]];
    if (!caller || Number.isNaN(runs.created[i])) return;
    const x = this.x(runs.created[i]), parent = runs.parent[i];
    const from = this.bands.find((other) => other.lane === caller &&
      (parent >= 0 ? other.kind === "row" && other.row.includes(parent) : other.kind === "made"));
    const y = from ? from.top + from.height / 2 : caller.top + 8, to = band.top + band.height / 2;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.bezierCurveTo(x + (left - x) / 2, y, x + (left - x) / 2, to, left, to);
    pen.setLineDash([4, 3]);
    pen.stroke();
    pen.setLineDash([]);
    pen.beginPath();
    pen.arc(x, y, 3, 0, 7);
    pen.fillStyle = this.ink("ink");
    pen.fill();
  }

  /** What lies under the pointer. */
  find(x, y) {
    const band = this.bands.find((b) => y >= b.top - 1 && y <= b.top + b.height + 1);
    if (!band || x < GUTTER || band.kind === "made") return null;
    const at = this.timeAt(x), slack = (this.to - this.from) / this.breadth;
    if (band.kind === "spans") {
      const { start, end } = this.data.spans;
      const k = lower(band.row.length, (n) => start[band.row[n]], at + slack) - 1;
      const i = band.row[k];
      return i !== undefined && end[i] >= at - slack ? { span: i, band } : null;
    }
    const k = lower(band.row.length, (n) => this.ends[band.row[n]], at - slack);
    const i = band.row[k];
    if (i === undefined) return null;
    const waits = Math.max(this.runs.queued[i] || this.runs.began[i], this.free[i]);
    return Math.min(waits, this.runs.began[i]) <= at + slack ? { i, band } : null;
  }

  describe({ i, span }) {
    const { runs, data } = this, made = document.createDocumentFragment(), list = document.createElement("dl");
    const say = (what, text) => list.append(cell("dt", what), cell("dd", text));
    if (span !== undefined) {
      const { start, end } = data.spans;
      made.append(cell("b", data.spanNames[data.spans.function[span]] ?? "(unknown)"), list);
      say("took", time(end[span] - start[span]));
      say("called at", time(start[span]));
      return made;
    }
    const took = phases(this.shown, i), where = (at) => (at < 0 ? "(unknown)" : data.processes[at].uid);
    made.append(cell("b", data.names[runs.callee[i]]), list);
    say("task", `${runs.owner[i]}-${runs.number[i].toString(16)}`);
    say("ran at", where(runs.host[i]));
    const parent = runs.parent[i];
    say("called by", where(runs.caller[i]) + (parent >= 0 ? `, within ${data.names[runs.callee[parent]]}` : ""));
    const status = runs.status[i];
    say("ended", status === data.unfinished ? "not yet" : data.statuses[status]);
    say("created at", time(runs.created[i]));
    if (took.sending) say("sending", time(took.sending));
    if (took.waiting) say("waiting for arguments", time(took.waiting));
    if (took.transfer) say("transfer", time(took.transfer));
    say("queueing", time(took.queueing));
    say("running", time(took.running || passed(runs.ran[i], this.ends[i])));
    say("arguments", size(runs.sizeIn[i]));
    say("result", size(runs.sizeOut[i]));
    return made;
  }

  listen() {
    const { canvas } = this, point = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    new ResizeObserver(() => this.ask()).observe($("frame"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.ask());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        this.pan((event.deltaX || event.deltaY) / this.breadth);
      } else this.zoom(event.deltaY > 0 ? ZOOM : 1 / ZOOM, point(event)[0]);
      this.writeAddress();
    }, { passive: false });
    let grip = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      const [x] = point(event);
      grip = { x, from: this.from, to: this.to, far: false, part: event.shiftKey };
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = point(event);
      if (grip) {
        grip.far ||= Math.abs(x - grip.x) > 3;
        if (grip.far && !grip.part) {
          const by = ((grip.x - x) / this.breadth) * (grip.to - grip.from);
          this.view(grip.from + by, grip.to + by);
        }
        return;
      }
      this.point(this.find(x, y), x, y);
    });
    canvas.addEventListener("pointerup", (event) => {
      const [x, y] = point(event);
      if (grip && !grip.far) this.keep(this.find(x, y));
      else if (grip?.part) this.view(...[this.timeAt(grip.x), this.timeAt(x)].sort((a, b) => a - b));
      grip = null;
      this.writeAddress();
    });
    canvas.addEventListener("pointerleave", () => this.point(null));
    canvas.addEventListener("keydown", (event) => {
      const act = { w: () => this.zoom(1 / ZOOM), s: () => this.zoom(ZOOM), a: () => this.pan(-KEY_STEP), d: () => this.pan(KEY_STEP) }[event.key.toLowerCase()];
      if (act && !event.ctrlKey && !event.metaKey) { act(); this.writeAddress(); }
    });
    $("all").addEventListener("click", () => { this.view(...this.whole); this.writeAddress(); });
    $("find").addEventListener("input", () => {
      const wanted = $("find").value.toLowerCase();
      this.data.names.forEach((name, at) => { this.hidden[at] = name.toLowerCase().includes(wanted) ? 0 : 1; });
      this.ask();
    });
    addEventListener("hashchange", () => this.readAddress());
  }

  point(found, x, y) {
    const hint = $("hint");
    hint.hidden = !found;
    if (found) {
      hint.replaceChildren(this.describe(found));
      const left = x + 18 + hint.offsetWidth > this.canvas.clientWidth ? x - hint.offsetWidth - 12 : x + 18;
      hint.style.left = `${Math.max(0, left)}px`;
      hint.style.top = `${y + 14}px`;
    }
    const run = found?.i === undefined ? null : found;
    if (run?.i !== this.hover?.i) { this.hover = run; this.ask(); }
  }

  keep(found) {
    $("details").hidden = !found;
    if (found) $("details").replaceChildren(this.describe(found));
    this.kept = found?.i === undefined ? null : found;
    this.ask();
  }

  /** The view is in the address, in microseconds, so that it can be kept and passed on. */
  readAddress() {
    const said = new URLSearchParams(location.hash.slice(1));
    const [from, to] = ["from", "to"].map((name) => parseFloat(said.get(name)));
    this.breadth ??= 1000;
    if (to > from) this.view(from, to); else this.view(...this.whole);
  }

  writeAddress() {
    history.replaceState(null, "", `#from=${this.from.toFixed(2)}&to=${this.to.toFixed(2)}`);
  }
}
