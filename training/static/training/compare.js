/* The page that compares sessions: the same figure of all of them in one chart. */

import { Refused, getJSON } from "./api.js";
import { ChartGroup, LineChart, connectControls } from "./charts.js";
import { SessionData } from "./session_data.js";

const AGAIN = 10000; // while one of them runs
const ENDED = ["completed", "failed", "stopped"];
const SERIES = ["train/loss", "epoch/loss", "learning_rate"];

const root = document.getElementById("compare");
const sessions = [...root.querySelectorAll("[data-api]")].map(({ dataset }) => ({
  id: dataset.session,
  data: new SessionData(dataset.api),
}));
const chart = (name, options) => new LineChart(root.querySelector(`[data-chart="${name}"]`), options);
const byEpoch = {
  val_loss: chart("val_loss", { canBeLogarithmic: true }),
  val_accuracy: chart("val_accuracy", { floor: 0, ceiling: 1 }),
  loss: chart("loss", { canBeLogarithmic: true }),
  accuracy: chart("accuracy", { floor: 0, ceiling: 1 }),
};
const byStep = {
  "train/loss": chart("train/loss", { canBeLogarithmic: true }),
  learning_rate: chart("learning_rate", { canBeLogarithmic: true }),
};
const charts = [...Object.values(byEpoch), ...Object.values(byStep)];
const group = new ChartGroup(charts);
let axis = "epoch";

function draw() {
  const lines = (points) => sessions.map(({ id, data }, color) => ({ key: id, label: id, color, points: points(data) }));
  for (const [name, one] of Object.entries(byEpoch)) {
    one.show(lines((data) => data.byEpoch(axis, name)).map((line) => ({ ...line, dots: true })));
  }
  for (const [name, one] of Object.entries(byStep)) one.show(lines((data) => data.byStep(axis, name)));
}

function chooseAxis(chosen) {
  axis = chosen;
  for (const one of charts) one.setAxis(axis);
  group.zoom(null);
  draw();
}

async function load({ data }) {
  data.status = await getJSON(`${data.api}/status`);
  await data.load(SERIES);
}

/** Get what is new of all, or of those that still learn. */
async function loadAll(wanted) {
  const problem = root.querySelector("#problem");
  const outcomes = await Promise.allSettled(wanted.map(load));
  const refusal = outcomes.find(({ reason }) => reason)?.reason;
  if (refusal && !(refusal instanceof Refused)) throw refusal;
  problem.textContent = refusal?.message ?? "";
  problem.hidden = !refusal;
  draw();
  const unended = sessions.filter(({ data }) => !data.status || !ENDED.includes(data.status.state));
  if (unended.length) setTimeout(() => (document.hidden ? loadAll([]) : loadAll(unended)), AGAIN);
}

connectControls(root.querySelector(".chart-controls"), charts, group, chooseAxis);
loadAll(sessions);
