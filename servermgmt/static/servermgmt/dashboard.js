// Keeps the dashboard true while it is open. The page is whole without it; the event stream only brings what changes.

import { Gauge } from "./sparklines.js";

const RELOAD_AFTER = 1000; // milliseconds, in which other changes may come along
const GIBIBYTE = 2 ** 30;
const LIVE = "live";

const dashboard = document.getElementById("dashboard");
const gauges = Object.fromEntries(
  [...dashboard.querySelectorAll("[data-gauge]")].map((element) => [element.dataset.gauge, new Gauge(element)]),
);
const unlisted = new Set();
let reloading = null;
let condition = "";

// Fetch the lists of sessions anew, once for all that changes at about the same time.
function reloadSoon() {
  reloading ??= setTimeout(() => {
    reloading = null;
    reload();
  }, RELOAD_AFTER);
}

async function reload() {
  const answer = await fetch(dashboard.dataset.lists);
  if (!answer.ok || answer.redirected) return say("not live: load the page again");
  const lists = document.createElement("template");
  lists.innerHTML = await answer.text();
  const focused = document.activeElement.id;
  for (const part of [...lists.content.children]) document.getElementById(part.id).replaceWith(part);
  if (focused) document.getElementById(focused)?.focus();
  say(condition);
}

function showStatus(status) {
  const entry = dashboard.querySelector(`[data-session="${CSS.escape(status.session_id)}"]`);
  const runs = status.state === "running";
  if (entry === null && runs && !unlisted.has(status.session_id)) {
    unlisted.add(status.session_id); // the list may be too short for it: asked for once
    reloadSoon();
  }
  if (entry !== null && !runs) reloadSoon();
  if (entry === null || !runs) return;
  const show = (name, text) => (entry.querySelector(`[data-show=${name}]`).textContent = text);
  entry.querySelector("progress").value = status.progress;
  show("percent", `${Math.round(100 * status.progress)} %`);
  show("epoch", status.current_epoch ?? 0);
  show("eta", status.eta ? `${inWords(new Date(status.eta) - Date.now())} left` : "");
}

function inWords(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

function showResources(sample) {
  const used = `${(sample.memory_used_mb / 1024).toFixed(1)} of ${(sample.memory_total_mb / 1024).toFixed(1)} GiB`;
  gauges.cpu?.add(sample.cpu_usage_percent);
  gauges.memory?.add(sample.memory_percent, used);
  for (const gpu of sample.gpus ?? []) {
    const known = gpu.memory_used_bytes !== null && gpu.memory_total_bytes !== null;
    const [held, total] = [gpu.memory_used_bytes, gpu.memory_total_bytes].map((bytes) => (bytes / GIBIBYTE).toFixed(1));
    gauges[`gpu-${gpu.index}`]?.add(gpu.usage_percent, known ? `${held} of ${total} GiB` : "");
  }
}

// Whether what the page shows is true now. The place for it is among the lists, and new with them.
function say(text) {
  condition = text;
  const place = dashboard.querySelector(".live");
  if (place === null) return;
  place.textContent = text;
  place.classList.toggle("on", text === LIVE);
}

// A browser has few connections to a server: a page that nobody looks at needs none.
function listen() {
  let stream = open();
  document.addEventListener("visibilitychange", () => {
    stream.close();
    if (document.visibilityState === "hidden") return;
    stream = open();
    reloadSoon();
  });
}

function open() {
  const stream = new EventSource(dashboard.dataset.events);
  const on = (name, act) => stream.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on("status", showStatus);
  on("transition", reloadSoon);
  on("resources", showResources);
  stream.addEventListener("open", () => say(LIVE));
  stream.addEventListener("error", () =>
    say(stream.readyState === EventSource.CLOSED ? "not live: load the page again" : "connecting again …"),
  );
  return stream;
}

if (dashboard.dataset.events) listen();
