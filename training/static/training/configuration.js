// Reads the fields of a configuration's form as training/form_fields.py does. Values stay texts of JSON throughout:
// a seed may have more digits than a number here can hold.

const NUMBER = /^[+-]?(\d{1,100}(\.\d{1,100})?|\.\d{1,100})([eE][+-]?\d{1,4})?$/;
const AS_JSON_WRITES_IT = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

const READERS = {
  text: JSON.stringify,
  choice: JSON.stringify,
  number: readNumber,
  json: readJson,
  list: (text) => readJson(text.startsWith("[") ? text : `[${text}]`),
  words: (text) => JSON.stringify(text.split("\n").map((line) => line.trim()).filter(Boolean)),
  flag: (text) => text,
};

function readNumber(text, field) {
  if ("takesNull" in field.dataset && text === "null") return text;
  if (!NUMBER.test(text)) return JSON.stringify(text);
  if (AS_JSON_WRITES_IT.test(text)) return text;
  if (/[.eE]/.test(text)) return JSON.stringify(Number(text));
  return text.replace("+", "").replace(/^(-?)0+(?=\d)/, "$1");
}

function readJson(text) {
  try {
    JSON.parse(text);
    return text;
  } catch {
    return JSON.stringify(text);
  }
}

export function typedText(field) {
  return field.type === "checkbox" ? String(field.checked) : field.value.trim();
}

function baseText(field) {
  return field.dataset.base;
}

// The whole configuration: name → JSON, or a Map of these for an object. What is left empty is not there.
export function configuration(fields, textOf = typedText) {
  const architecture = textOf(fields.find((field) => field.dataset.key === "model_architecture"));
  const isOff = (name) => fields.some((field) => field.dataset.kind === "switch" && field.dataset.key === name && textOf(field) !== "true");
  const config = new Map();
  for (const field of fields) {
    const { kind, key, inside, architecture: owner } = field.dataset;
    const text = textOf(field);
    if (kind === "switch") {
      if (text === "true") config.set(key, new Map());
    } else if (text === "" || (owner && owner !== architecture) || isOff(inside)) {
      continue;
    } else if (!inside) {
      config.set(key, READERS[kind](text, field));
    } else {
      putInside(config, inside, key, READERS[kind](text, field), field.dataset.default);
    }
  }
  return config;
}

function putInside(config, name, key, value, defaultValue) {
  if (value === defaultValue) return;
  if (!config.has(name)) config.set(name, new Map());
  config.get(name).set(key, value);
}

// What of the configuration is not as the form began.
export function changes(fields) {
  const typed = configuration(fields);
  const base = configuration(fields, baseText);
  const changed = new Map();
  for (const name of new Set([...typed.keys(), ...base.keys()])) {
    const value = typed.get(name) ?? emptied(fields, name);
    if (!base.has(name) || asText(value) !== asText(base.get(name))) changed.set(name, value);
  }
  return changed;
}

// What stands for nothing where something was before.
function emptied(fields, name) {
  const field = fields.find(({ dataset }) => dataset.key === name && !dataset.inside);
  if (!field) return "{}";
  return field.dataset.kind === "switch" ? "null" : field.dataset.default;
}

export function asText(value, indent = "") {
  if (!(value instanceof Map)) return value;
  const members = [...value].map(([name, inner]) => `${indent}  ${JSON.stringify(name)}: ${asText(inner, `${indent}  `)}`);
  return members.length ? `{\n${members.join(",\n")}\n${indent}}` : "{}";
}
