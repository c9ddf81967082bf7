// Unpacks the data and brings the page up.

async function start() {
  if (!("DecompressionStream" in window)) throw new Error("this browser is too old for the page: it cannot unpack the data");
  const data = await load();
  const shown = model(data), palette = colours(data.names.length);
  $("title").textContent = data.title;
  const workers = data.processes.filter((process) => process.uid.startsWith("worker")).length;
  const failed = shown.runs.status.reduce((sum, status) => sum + (status > 0 && status !== data.unfinished), 0);
  $("summary").textContent = `${data.when} · ${time(data.duration)} · ${number(shown.count)} calls` +
    `${failed ? `, ${number(failed)} failed` : ""} · ${workers} worker${workers === 1 ? "" : "s"}`;
  const warnings = [];
  if (data.torn) warnings.push(`${number(data.torn)} bytes of the file are torn, as after a kill: what they said is missing.`);
  if (data.dropped) warnings.push(`${number(data.dropped)} rows were left out: the disk was too slow.`);
  $("warning").hidden = !warnings.length;
  $("warning").textContent = warnings.join(" ");
  writeTables(shown, palette);
  new Timeline(shown, palette);
  document.documentElement.dataset.state = "ready";
}

start().catch((error) => {
  $("warning").hidden = false;
  $("warning").textContent = `The profile cannot be shown: ${error.message}`;
});
