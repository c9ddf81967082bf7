// The tables: where time went, by what was called and by process; what moved; functions.

function cell(tag, text, classes) {
  const made = document.createElement(tag);
  if (text instanceof Node) made.append(text); else made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

function swatch(colour) {
  const made = cell("i", "", "swatch");
  made.style.background = colour;
  return made;
}

/** A table that is sorted by a click. Columns: title, what a row is sorted by, what is shown, classes. */
function table(id, columns, rows, by, empty) {
  const body = document.createElement("tbody"), line = document.createElement("tr");
  let sorted = by, falling = true;
  const fill = () => {
    const value = columns[sorted].value;
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return (typeof x === "string" ? x.localeCompare(y) : x - y) * (falling ? -1 : 1);
    });
    body.replaceChildren(...rows.map((row) => {
      const made = document.createElement("tr");
      for (const { value, show, classes } of columns) {
        made.append(cell("td", show ? show(row) : number(value(row)),
          typeof classes === "function" ? classes(row) : classes));
      }
      return made;
    }));
    [...line.children].forEach((head, at) => {
      if (at === sorted) head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };
  columns.forEach(({ title, about, classes }, at) => {
    const head = cell("th", title, classes === "text" ? "text" : "");
    if (about) head.title = about;
    head.addEventListener("click", () => {
      falling = at === sorted ? !falling : classes !== "text";
      sorted = at;
      fill();
    });
    line.append(head);
  });
  const head = document.createElement("thead");
  head.append(line);
  $(id).replaceChildren(head, body);
  if (rows.length) { fill(); return; }
  const none = document.createElement("tr"), text = cell("td", empty, "empty");
  text.colSpan = columns.length;
  none.append(text);
  body.append(none);
}

function writeTables(shown, palette) {
  const { data, runs, count, ends, lanes } = shown;
  const sums = new Map();
  const parts = ["running", "waiting", "queueing", "transfer", "sending"];
  for (let i = 0; i < count; i++) {
    const name = runs.callee[i];
    if (!sums.has(name)) {
      sums.set(name, { name, count: 0, failed: 0, open: 0, longest: 0, in: 0, out: 0, ...Object.fromEntries(parts.map((p) => [p, 0])) });
    }
    const sum = sums.get(name), took = phases(shown, i);
    sum.count++;
    if (runs.status[i] === data.unfinished) sum.open++; else if (runs.status[i] > 0) sum.failed++;
    for (const part of parts) sum[part] += took[part];
    sum.longest = Math.max(sum.longest, took.running);
    sum.in += runs.sizeIn[i];
    sum.out += runs.sizeOut[i];
  }
  const named = (sum) => {
    const text = document.createDocumentFragment();
    text.append(swatch(palette[sum.name]), data.names[sum.name]);
    return text;
  };
  const span = (title, part, about) => ({ title, about, value: (sum) => sum[part], show: (sum) => time(sum[part]) });
  const bad = (part) => (sum) => (sum[part] ? "bad" : "");
  table("calls", [
    { title: "class.method", value: (sum) => data.names[sum.name], show: named, classes: "text" },
    { title: "calls", value: (sum) => sum.count },
    span("run, total", "running", "in the method's own code"),
    { title: "mean", value: (sum) => sum.running / sum.count, show: (sum) => time(sum.running / sum.count) },
    span("longest", "longest"),
    span("waiting for arguments", "waiting", "until the last task among the arguments had ended"),
    span("queueing", "queueing", "from having everything to the beginning"),
    span("transfer", "transfer", "bringing and decoding arguments, encoding results"),
    span("sending", "sending", "from the call to its arrival at the tessera's process"),
    { title: "bytes in", value: (sum) => sum.in, show: (sum) => size(sum.in), about: "of arguments, without tasks among them" },
    { title: "bytes out", value: (sum) => sum.out, show: (sum) => size(sum.out), about: "of results" },
    { title: "failed", value: (sum) => sum.failed, classes: bad("failed") },
    { title: "not ended", value: (sum) => sum.open, classes: bad("open") },
  ], [...sums.values()], 2, "No call was recorded.");

  const busy = lanes.map(({ process, rows, made }, at) => {
    let until = -Infinity, covered = 0, calls = 0;
    for (const i of rows.flat().sort((a, b) => runs.began[a] - runs.began[b])) {
      covered += passed(Math.max(until, runs.began[i]), ends[i]);
      until = Math.max(until, ends[i]);
      calls++;
    }
    const there = passed(process.began, process.last);
    return { at, process, calls, made: made.length, covered, share: there ? Math.min(1, covered / there) : 0 };
  });
  table("processes", [
    { title: "process", value: (row) => row.process.uid, show: (row) => row.process.uid, classes: "text" },
    { title: "pid", value: (row) => row.process.pid, show: (row) => String(row.process.pid) },
    { title: "calls run", value: (row) => row.calls },
    { title: "calls made", value: (row) => row.made },
    { title: "busy", value: (row) => row.covered, show: (row) => time(row.covered), about: "while at least one call ran" },
    { title: "busy share", value: (row) => row.share, show: (row) => {
      const text = document.createDocumentFragment(), bar = cell("span", cell("i", ""), "share");
      bar.firstChild.style.width = `${100 * row.share}%`;
      text.append(percent(row.share), bar);
      return text;
    } },
  ], busy, 2, "No process was recorded.");

  const ways = new Map();
  const { moved } = data;
  for (let i = 0; i < moved.size.length; i++) {
    const key = `${moved.source[i]} ${moved.target[i]}`;
    if (!ways.has(key)) ways.set(key, { from: moved.source[i], to: moved.target[i], count: 0, size: 0, copied: 0 });
    const way = ways.get(key);
    way.count++; way.size += moved.size[i]; way.copied += moved.copied[i];
  }
  const uid = (at) => (at < 0 ? "(unknown)" : data.processes[at].uid);
  table("transfers", [
    { title: "from", value: (way) => uid(way.from), show: (way) => uid(way.from), classes: "text" },
    { title: "to", value: (way) => uid(way.to), show: (way) => uid(way.to), classes: "text" },
    { title: "values", value: (way) => way.count },
    { title: "bytes", value: (way) => way.size, show: (way) => size(way.size) },
    { title: "of these copied", value: (way) => way.copied, show: (way) => size(way.copied), about: "through a socket; the others lie in memory that both share" },
  ], [...ways.values()], 3, "No large value came to a process.");

  if (data.functions.length) {
    $("functionsSection").hidden = false;
    table("functions", [
      { title: "function", value: (f) => f[1], show: (f) => f[1], classes: "text" },
      { title: "file", value: (f) => f[0], show: (f) => f[0], classes: "text" },
      { title: "calls", value: (f) => f[2] },
      { title: "total", value: (f) => f[3], show: (f) => time(f[3]) },
      { title: "its own", value: (f) => f[4], show: (f) => time(f[4]), about: "without the functions that it calls" },
      { title: "mean", value: (f) => f[3] / f[2], show: (f) => time(f[3] / f[2]) },
    ], data.functions, 4, "");
  }
}
