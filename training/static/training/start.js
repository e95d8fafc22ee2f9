// The page on which a session is started: shows the arguments of the architecture that is chosen, has what is typed
// checked by the API, says what the session would cost, and writes the request as a client would send it.

import { asText, changes, configuration, typedText } from "./configuration.js";

const CHECK_AFTER_MS = 300;
const MEASURE_AFTER_MS = 1500; // an estimate trains for some steps: not at every key

const form = document.getElementById("start-form");
const fields = [...form.querySelectorAll("[data-kind]:not([data-kind=checkpoint])")];
const checkpoint = form.querySelector("[data-kind=checkpoint]");
const changeable = new Set(JSON.parse(document.getElementById("changeable").textContent));
const field = (key) => fields.find(({ dataset }) => dataset.key === key && !dataset.inside);
const estimate = (name) => form.querySelector(`[data-estimate=${name}]`);
const visited = new Set(form.querySelector("[role=alert] li") ? fields.map(({ name }) => name) : []);

let checking = new AbortController();
let checkSoon, measureSoon;
let isMeasuring = false;
let measured = ""; // the configuration that the figures are of

// --- What is shown ---

function showArguments() {
  const chosen = field("model_architecture").value;
  for (const group of form.querySelectorAll("[data-arguments-of]")) group.hidden = group.dataset.argumentsOf !== chosen;
}

function offerWhatFits() {
  const holds = field("dataset_name").selectedOptions[0]?.dataset.holds;
  for (const option of field("model_architecture").options) {
    option.disabled = Boolean(holds && option.dataset.takes) && !option.dataset.takes.split(" ").includes(holds);
  }
}

function showMembers() {
  for (const { dataset, checked } of fields.filter(({ dataset }) => dataset.kind === "switch")) {
    for (const inner of fields.filter((other) => other.dataset.inside === dataset.key)) inner.closest("[data-field]").hidden = !checked;
  }
}

function lockWhatStays() {
  const goesOn = Boolean(checkpoint?.value);
  for (const input of fields) input.disabled = goesOn && !changeable.has(input.dataset.inside || input.dataset.key);
}

function showRequest() {
  form.querySelector("[data-preview=json]").textContent = requestBody();
}

function requestBody() {
  if (!form.dataset.parent) return asText(changes(fields));
  const changed = changes(fields);
  const body = new Map();
  if (checkpoint.value) body.set("from_checkpoint", JSON.stringify(checkpoint.value));
  if (changed.size) body.set("changes", changed);
  return asText(body);
}

function requestAsCurl() {
  const body = requestBody().replaceAll("'", String.raw`'\''`);
  const url = new URL(form.dataset.submit, location.href);
  return `curl -H "X-API-Key: $KEY" -H "Content-Type: application/json" ${url} -d '${body}'`;
}

async function copy(text) {
  const said = form.querySelector("[data-preview=copied]");
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = "Copied.";
  } catch { // browsers give the clipboard to pages from https and localhost alone
    said.textContent = "The browser does not let this page copy; select the text instead.";
  }
}

// --- Checking ---

function ask(query, signal) {
  return fetch(form.dataset.validate + query, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
    body: asText(configuration(fields)),
    signal,
  });
}

async function check() {
  checking.abort();
  checking = new AbortController();
  try {
    const answer = await ask("?measure=false", checking.signal);
    if (await isAccepted(answer)) plan();
  } catch (error) {
    if (error.name !== "AbortError") say("The server cannot be reached; what is typed stays here.");
  }
}

// Whether the server would take the configuration; what it says is wrong stands beside the fields then.
async function isAccepted(answer) {
  const body = await answer.json();
  const isWrong = answer.status === 400;
  const others = showErrors(isWrong ? body.error.details : {});
  if (!answer.ok) say(isWrong ? others || whatIsMissing() : body.detail);
  return answer.ok;
}

function whatIsMissing() {
  const empty = fields.filter((input) => input.getAttribute("aria-required") && !typedText(input));
  const names = empty.map((input) => input.labels[0].textContent.replace("*", "").trim().toLowerCase());
  return names.length ? `Still to fill in: ${names.join(", ")}.` : "Something is not right yet: see the marked fields.";
}

// Gives the messages that belong to no field.
function showErrors(details) {
  const found = new Map();
  for (const [name, messages] of Object.entries(details)) {
    for (const message of messages) {
      const place = placeOf(name, message);
      found.set(place, [...(found.get(place) ?? []), message]);
    }
  }
  for (const input of fields) {
    const isSilent = !visited.has(input.name) && !typedText(input);
    showErrorsOf(input, isSilent ? [] : found.get(input) ?? []);
  }
  return (found.get(null) ?? []).join(" ");
}

// The input that a message is about: one about an argument names it.
function placeOf(name, message) {
  const argument = name === "model_args" && message.match(/^model_args\.(\w+)/)?.[1];
  const chosen = field("model_architecture").value;
  return form.elements.namedItem(argument ? `model_args.${chosen}.${argument}` : name);
}

function showErrorsOf(input, messages) {
  const list = document.getElementById(`${input.id}_error`);
  input.closest("[data-field]").classList.toggle("errors", messages.length > 0);
  if (messages.length) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  if ([...list.children].map((item) => item.textContent).join("\n") === messages.join("\n")) return; // said already
  list.replaceChildren(...messages.map((message) => withText("li", message)));
}

function withText(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}

// --- What it would cost ---

function say(text) {
  estimate("state").textContent = text;
}

function plan() {
  if (asText(configuration(fields)) === measured) return say("");
  say("Everything is right. The first steps will be made when you pause.");
  clearTimeout(measureSoon);
  measureSoon = setTimeout(measure, MEASURE_AFTER_MS);
}

// One at a time: what was typed meanwhile is measured afterwards.
async function measure() {
  if (isMeasuring) return;
  isMeasuring = true;
  const config = asText(configuration(fields));
  say("Making the first steps …");
  try {
    const answer = await ask("");
    if (config !== asText(configuration(fields))) return check();
    if (answer.status === 429) say("Others are having theirs measured. Estimate again in a moment.");
    else if (await isAccepted(answer.clone())) showFigures(config, await answer.json());
  } catch {
    say("The server cannot be reached; what is typed stays here.");
  } finally {
    isMeasuring = false;
  }
}

function showFigures(config, answer) {
  measured = config;
  const { memory_bytes: memory } = answer;
  const figures = [
    ["Time", inTime(answer.estimated_seconds)],
    ["Steps", answer.total_steps?.toLocaleString("en")],
    ["Time for a step", inTime(answer.seconds_per_step)],
    ["Memory", inBytes(memory?.total)],
    ["Disk", inBytes(answer.disk_bytes)],
    ["Parameters", answer.parameters?.toLocaleString("en")],
    ["Device", answer.device],
  ].filter(([, value]) => value != null);
  estimate("figures").replaceChildren(...figures.flatMap(([name, value]) => [withText("dt", name), withText("dd", value)]));
  estimate("figures").hidden = !figures.length;
  estimate("warnings").replaceChildren(...answer.warnings.map((warning) => withText("li", warning)));
  estimate("warnings").hidden = !answer.warnings.length;
  say(figures.length ? "From its first steps, made just now:" : "");
  markOutdated();
}

function markOutdated() {
  estimate("figures").toggleAttribute("data-outdated", asText(configuration(fields)) !== measured);
}

function inTime(seconds) {
  if (seconds == null) return null;
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 2 : 0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function inBytes(bytes) {
  if (bytes == null) return null;
  const unit = Math.min(4, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return `${(bytes / 1024 ** unit).toFixed(unit && 1)} ${["B", "KB", "MB", "GB", "TB"][unit]}`;
}

// --- What happens ---

function update() {
  showArguments();
  offerWhatFits();
  showMembers();
  lockWhatStays();
  showRequest();
  markOutdated();
}

form.addEventListener("input", () => {
  update();
  clearTimeout(measureSoon);
  clearTimeout(checkSoon);
  checkSoon = setTimeout(check, CHECK_AFTER_MS);
});
form.addEventListener("focusout", ({ target }) => {
  if (fields.includes(target) && typedText(target) !== target.dataset.base) visited.add(target.name);
});
form.addEventListener("change", ({ target }) => visited.add(target.name));
form.addEventListener("submit", () => {
  for (const input of fields) input.disabled = false; // what is disabled is not sent
});
estimate("again").addEventListener("click", measure);
form.querySelector("[data-copy=json]").addEventListener("click", () => copy(requestBody()));
form.querySelector("[data-copy=curl]").addEventListener("click", () => copy(requestAsCurl()));

form.querySelector("[data-needs-script]").hidden = false;
update();
if (fields.some((input) => input.getAttribute("aria-required") && !typedText(input))) say(whatIsMissing());
else check();
