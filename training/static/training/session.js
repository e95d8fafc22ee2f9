/* The page of one session: what it says is loaded first, and the stream adds what happens. */

import { Refused, getJSON, postJSON } from "./api.js";
import { formatNumber, formatSeconds } from "./charts.js";
import { LogTail } from "./log_tail.js";
import { SessionCharts } from "./session_charts.js";
import { Stream } from "./stream.js";

const PARTS_PAUSE = 5000;
const LAST_WORDS = 3000; // after its end a session may still log
const ENDED = ["completed", "failed", "stopped"];
const LIVE = { connecting: "connecting", live: "live", reconnecting: "reconnecting", closed: "not live: it has ended" };

const root = document.getElementById("session");
const { api, samples: samplesUrl, address, parts } = root.dataset;
const charts = new SessionCharts(root, { api, samplesUrl });
const log = new LogTail(root.querySelector("#log"), `${api}/logs`);
let status = null;
let hasEnded = ENDED.includes(root.dataset.state);

// --- What it says of itself ---

const field = (name) => root.querySelector(`[data-field=${name}]`);

function say(name, text) {
  if (field(name).textContent !== text) field(name).textContent = text;
}

function showStatus(news) {
  const earlier = status;
  status = news;
  charts.setStatus(status);
  const bar = field("progress");
  bar.value = status.progress;
  say("percent", `${Math.floor(100 * status.progress)} %`);
  say("epoch", `${status.current_epoch ?? 0} of ${status.total_epochs}`);
  say("steps", status.steps_planned ? `${format(status.steps_done)} of ${format(status.steps_planned)}` : format(status.steps_done));
  say("speed", status.samples_per_second ? `${formatNumber(status.samples_per_second)} samples/s` : "–");
  say("attempt", String(status.attempt));
  showTimes();
  const isNews = earlier ? partsOf(earlier) !== partsOf(status) : status.state !== root.dataset.state;
  if (isNews) refreshParts();
  if (!hasEnded && ENDED.includes(status.state)) {
    hasEnded = true;
    setTimeout(finish, LAST_WORDS);
  }
}

const format = (count) => count.toLocaleString("en");

function showTimes() {
  if (!status) return;
  const now = Date.now();
  const [start, end, eta] = [status.start_time, status.end_time, status.eta].map((text) => text && Date.parse(text));
  say("elapsed", start ? formatSeconds(((end ?? now) - start) / 1000) : "–");
  const left = eta ? `in ${formatSeconds(Math.max(0, eta - now) / 1000)}` : "–";
  say("ends", end ? "Ended" : "Will end");
  say("eta", end ? new Date(end).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : left);
}

/** What the server writes into the parts of the page: when it changes, they are asked for anew. */
function partsOf({ state, wish, health, allowed_actions, attempt, model_name, queue_position, waiting_reason }) {
  return JSON.stringify([state, wish, health, allowed_actions, attempt, model_name, queue_position, waiting_reason]);
}

let partsTimer = null;
let partsAt = 0;

/** Soon, and not again and again. */
function refreshParts() {
  partsTimer ??= setTimeout(async () => {
    partsTimer = null;
    partsAt = Date.now();
    try {
      const answer = await fetch(parts);
      if (answer.ok && !answer.redirected) putParts(await answer.text());
    } catch {
      // the stream says that the server is away, and what changes next comes with all before it
    }
  }, Math.max(0, partsAt + PARTS_PAUSE - Date.now()));
}

function putParts(text) {
  const template = document.createElement("template");
  template.innerHTML = text;
  for (const fresh of template.content.querySelectorAll("[data-part]")) {
    const old = root.querySelector(`[data-part=${fresh.dataset.part}]`);
    if (!old || contentOf(old) === contentOf(fresh) || old.querySelector("dialog[open], details[open]")) continue;
    const hadFocus = old.contains(document.activeElement);
    old.replaceWith(document.adoptNode(fresh));
    if (hadFocus) fresh.querySelector("button, a")?.focus();
  }
}

/** The token of a form is another one each time. */
function contentOf(part) {
  const copy = part.cloneNode(true);
  copy.querySelectorAll("[name=csrfmiddlewaretoken]").forEach((token) => token.remove());
  return copy.innerHTML;
}

// --- What is asked of it ---

function showProblem(text) {
  const problem = root.querySelector("#problem");
  problem.textContent = text;
  problem.hidden = !text;
}

root.addEventListener("click", async ({ target }) => {
  const button = target.closest("button");
  if (button?.dataset.opens) document.getElementById(button.dataset.opens).showModal();
  if (button?.dataset.closes) document.getElementById(button.dataset.closes).close();
  if (button?.name === "restart") await restart(button);
});

async function restart(button) {
  button.disabled = true; // it may take a while: the dataset's file is read
  try {
    const { session_id: session } = await postJSON(`${api}/restart`, {});
    location.assign(address.replace(root.dataset.session, session));
  } catch (refusal) {
    showProblem(refusal.message);
    button.disabled = false;
  }
}

// --- Past and present ---

/** Everything up to now. What the stream brings meanwhile finds its place among it. */
async function loadPast() {
  const line = log.newest;
  try {
    showStatus(await getJSON(`${api}/status`));
    await Promise.all([charts.load(), log.catchUp(line)]);
    showProblem("");
  } catch (refusal) {
    if (!(refusal instanceof Refused)) throw refusal;
    showProblem(refusal.message);
  }
  try {
    await charts.loadSamples();
  } catch (refusal) {
    root.querySelector("#no-samples").textContent = refusal.message;
  }
}

function showLive(state) {
  const live = root.querySelector("#live");
  live.dataset.state = state;
  live.textContent = LIVE[state];
}

const stream = new Stream(`${api}/events`, { onState: showLive, onFresh: loadPast })
  .on("status", showStatus)
  .on("transition", (transition) => charts.addTransition(transition))
  .on("metric", (metric) => {
    charts.addMetric(metric);
    refreshParts();
  })
  .on("points", (points) => charts.addPoints(points))
  .on("log", (entry) => log.add(entry))
  .on("resources", (sample) => charts.addSample(sample));

/** Nothing happens to it any more. */
async function finish() {
  stream.close();
  await loadPast();
  refreshParts();
}

if (hasEnded) {
  showLive("closed");
  loadPast();
} else {
  stream.open();
  setInterval(showTimes, 1000);
}
