"use strict";
// Starts every panel of the page on its stored data. A panel that fails leaves its static twin in place.
async function unpack(element) {
  const bytes = Uint8Array.from(atob(element.textContent.trim()), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

async function read(id) {
  const element = document.getElementById(id);
  return JSON.parse(element.type === "application/gzip" ? await unpack(element) : element.textContent);
}

function model(state) {
  const listeners = {};
  return {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; for (const f of listeners[`change:${name}`] ?? []) f(); },
    on: (event, f) => { (listeners[event] ??= []).push(f); },
    off: (event, f) => { listeners[event] = (listeners[event] ?? []).filter((g) => g !== f); },
    save_changes: () => {}, send: () => {},
  };
}

async function start(el) {
  try {
    const state = await read(el.dataset.source);
    el.hidden = false;
    PANELS[el.dataset.module].render({ model: model(state), el });
    el.parentElement.classList.add("is-live");
  } catch (error) {
    el.hidden = true;
    console.error(error);
  }
}

Promise.all([...document.querySelectorAll(".live")].map(start)).then(() => { document.documentElement.dataset.ready = "yes"; });

// Stored by column, which packs better; read by row.
function rows(csv) {
  if (typeof csv === "string") return csv;
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return csv[0].map((_, i) => `${csv.map((column) => cell(column[i])).join(",")}\n`).join("");
}

for (const button of document.querySelectorAll("button.save")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const { csv } = await read(button.dataset.source);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([rows(csv)], { type: "text/csv" }));
    link.download = button.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = document.getElementById(button.dataset.source);
    try { await navigator.clipboard.writeText(code.textContent); } catch {
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

// The code is one switch away; without this script every cell's code stands behind its own line.
const codeSwitch = document.getElementById("code");
if (codeSwitch) {
  const root = document.documentElement;
  const blocks = [...document.querySelectorAll(".cell:not(.failed) > details.code")];
  const show = (shown) => {
    root.dataset.code = shown ? "shown" : "hidden";
    for (const block of blocks) block.open = shown;
    codeSwitch.textContent = shown ? "Hide code" : "Show code";
    codeSwitch.setAttribute("aria-pressed", shown);
  };
  codeSwitch.hidden = !blocks.length;
  codeSwitch.addEventListener("click", () => show(root.dataset.code !== "shown"));
  show(false);
}

const theme = document.getElementById("theme");
if (theme) {
  const next = { auto: "light", light: "dark", dark: "auto" };
  let now = "auto";
  theme.hidden = false;
  theme.addEventListener("click", () => {
    now = next[now];
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    theme.textContent = `Theme: ${now}`;
  });
}

for (const bar of document.querySelectorAll(".row-filter")) {
  const rows = [...document.getElementById(bar.dataset.table).querySelectorAll("tbody tr")];
  const field = bar.querySelector("input"), count = bar.querySelector("span");
  bar.hidden = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every((w) => row.textContent.toLowerCase().includes(w));
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
}

const filter = document.getElementById("filter");
if (filter) {
  const cards = [...document.querySelectorAll("[data-search]")];
  const count = document.getElementById("count");
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const card of cards) card.hidden = !words.every((w) => card.dataset.search.includes(w));
    count.textContent = `${cards.filter((c) => !c.hidden).length} of ${cards.length}`;
  };
  filter.addEventListener("input", apply);
  apply();
}

const library = document.getElementById("plotly-library");
if (library) {
  // The unpacked text is allowed to run by its own hash, so nothing needs eval or a blob.
  unpack(library).then(async (source) => {
    const script = document.createElement("script");
    script.textContent = source;
    document.head.append(script);
    for (const el of document.querySelectorAll(".plotly")) {
      const { data, layout } = await read(el.dataset.source);
      window.Plotly.newPlot(el, data, layout, { displaylogo: false, responsive: true });
    }
  });
}
