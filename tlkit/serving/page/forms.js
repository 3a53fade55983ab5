// Texts, rows and raw JSON: forms that send one example each.

const MOST_ELEMENTS = 64; // larger tensors are not written out in the template of raw JSON

function prepareForms() {
  byId("panel-text").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("text").value;
    send({ title: text.trim() ? shortened(onOneLine(text), 140) : "(empty text)", detail: "" },
      `{"instances": [${jsonString(text)}]}`);
  });
  byId("panel-raw").addEventListener("submit", (event) => {
    event.preventDefault();
    send({ title: byId("signature").value, detail: "raw JSON" }, byId("raw").value);
  });
  for (const id of ["text", "raw"]) {
    byId(id).addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.repeat || event.isComposing) return;
      event.preventDefault();
      event.target.form.requestSubmit();
    });
  }
  byId("signature").addEventListener("change", showSignature);
  byId("panel-row").addEventListener("submit", sendRow);
  byId("row-fields").addEventListener("keydown", sendOnEnter);
  for (const kind of ["paste", "drop"]) byId("row-fields").addEventListener(kind, keepLines);
  byId("row-sample").addEventListener("click", () => fillRow(sampleValue));
  byId("row-empty").addEventListener("click", () => fillRow(() => ""));
}

async function send(words, body) {
  const chosen = selected();
  if (!chosen) return;
  const card = addCard({ ...words, ...chosen });
  card.state.textContent = "sending";
  say("Sending");
  reveal();
  const curl = curlOfBody(chosen.target, body);
  try {
    say(showAnswer(card, await predict(chosen.target, body), curl));
  } catch (error) {
    say(showFailure(card, error, curl));
    if (MOVED.has(error.status)) lookSoon();
  }
}

/** Build the form; its fields remember their columns. */
function showRowForm(columns) {
  byId("row-fields").replaceChildren(...columns.map((column, place) => {
    const id = `column-${place}`;
    const hint = element("span", { id: `${id}-hint`, class: "hint" }, columnHint(column));
    const wrong = element("span", { id: `${id}-error`, class: "wrong" });
    const field = fieldOf(column, id);
    field.column = column;
    field.addEventListener("input", () => complain(field, ""));
    const parts = [element("label", { for: id }, element("bdi", {}, column.name)), field];
    if (column.values.length && field.tagName === "INPUT") {
      field.setAttribute("list", `${id}-values`);
      parts.push(element("datalist", { id: `${id}-values` },
        ...column.values.map((value) => element("option", { value }))));
    }
    return element("div", { class: "field" }, ...parts, hint, wrong);
  }));
}

function fieldOf(column, id) {
  const shared = { id, "aria-describedby": `${id}-hint ${id}-error` };
  if (column.kind === "date" && !column.form) {
    return column.time
      ? element("input", { ...shared, type: "datetime-local", step: "1", max: "9999-12-31T23:59:59" })
      : element("input", { ...shared, type: "date", max: "9999-12-31" });
  }
  if (column.dtype !== "string") {
    const field = element("input", { ...shared, type: "number", step: "any" });
    // Stepping goes through float64, which would change the last digits of a large whole number.
    const exact = (event) => /[0-9]{16}/.test(field.value) && event.preventDefault();
    field.addEventListener("keydown", (event) => /^Arrow(Up|Down)$/.test(event.key) && exact(event));
    field.addEventListener("wheel", () => field.blur(), { passive: true }); // scrolling must not change a value
    return field;
  }
  if (column.values.length && column.values.every((value) => value === "true" || value === "false")) {
    return element("select", shared, element("option", { value: "" }, "not given"),
      ...["false", "true"].map((value) => element("option", { value }, value)));
  }
  const words = { ...shared, dir: "auto", spellcheck: "false", autocapitalize: "off" };
  // A browser drops the line breaks of an <input>, so only short known values get one, which can offer them.
  if (column.values.length && !column.values.some((value) => /[\r\n]/.test(value))) {
    return element("input", { ...words, type: "text" });
  }
  return element("textarea", { ...words, rows: "1" });
}

/** Enter sends a row from every field; in a field of several lines Shift+Enter starts a new one. */
function sendOnEnter(event) {
  if (event.key !== "Enter" || event.target.tagName !== "TEXTAREA") return;
  if (event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!event.repeat) event.target.form.requestSubmit();
}

/** Turn a field of one line into one of several before it takes a text with line breaks. */
function keepLines(event) {
  const field = event.target;
  const text = (event.clipboardData ?? event.dataTransfer)?.getData("text/plain") ?? "";
  if (field.tagName !== "INPUT" || field.type !== "text" || !/[\r\n]/.test(text)) return;
  event.preventDefault();
  const wide = element("textarea", { rows: "1" });
  for (const { name, value } of field.attributes) if (name !== "type" && name !== "list") wide.setAttribute(name, value);
  wide.column = field.column;
  wide.addEventListener("input", () => complain(wide, ""));
  wide.value = field.value;
  const place = event.type === "paste" ? [field.selectionStart, field.selectionEnd] : [wide.value.length, wide.value.length];
  wide.setRangeText(text, ...place, "end");
  field.replaceWith(wide);
  wide.focus();
}

function columnHint(column) {
  if (column.kind === "date") {
    const written = column.form ? ` as ${column.form}` : "";
    const kind = (column.time && !column.form ? "date and time" : "date") + written;
    return column.years.length ? `${kind}; training data from ${[...new Set(column.years)].join(" to ")}` : kind;
  }
  const kind = { string: "text", int64: "whole number", float32: "number", float64: "number" }[column.dtype] ?? column.dtype;
  if (column.value_count > column.values.length) {
    return `${kind}; ${plain.format(column.values.length)} of ${plain.format(column.value_count)} known values are offered`;
  }
  if (column.value_count) return `${kind}; ${plain.format(column.value_count)} known values`;
  return column.median === null ? kind : `${kind}; median ${shownNumber(column.median)}`;
}

function rowFields() {
  return [...byId("row-fields").querySelectorAll("input, select, textarea")];
}

function complain(field, message) {
  byId(`${field.id}-error`).textContent = message;
  if (message) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

function sendRow(event) {
  event.preventDefault();
  const pairs = [], given = [], wrong = [];
  for (const field of rowFields()) {
    try {
      const json = jsonOfField(field, field.column);
      complain(field, "");
      pairs.push(`${jsonString(field.column.argument)}: ${json}`);
      if (field.value !== "") given.push(`${field.column.name} = ${onOneLine(field.value)}`);
    } catch (error) {
      complain(field, error.message);
      wrong.push(field);
    }
  }
  if (wrong.length) {
    say(`${wrong.length} ${wrong.length === 1 ? "field needs" : "fields need"} a correction`);
    wrong[0].focus();
    return;
  }
  const empty = pairs.length - given.length;
  send({
    title: "Row",
    detail: [shortened(given.join(", "), 200), empty ? `${empty} of ${pairs.length} left empty` : ""].filter(Boolean).join("; "),
  }, `{"instances": [{${pairs.join(", ")}}]}`);
}

function fillRow(valueOf) {
  for (const field of rowFields()) {
    field.value = valueOf(field.column);
    complain(field, "");
  }
}

/** Medians and known values: something to start from, not a real row. */
function sampleValue(column) {
  if (column.kind === "date") {
    if (!column.years.length) return "";
    return column.time ? `${column.years[1]}-06-15T12:00` : `${column.years[1]}-06-15`;
  }
  if (column.values.length) return column.values[0];
  return column.median === null ? "" : String(column.median);
}

function showRawForm(signatures) {
  const names = Object.keys(signatures);
  const first = names.includes("serving_default") ? "serving_default" : names[0];
  byId("signature").replaceChildren(...names.map((name) => element("option", { value: name, selected: name === first }, name)));
  showSignature();
}

function showSignature() {
  const name = byId("signature").value;
  const signature = selected()?.signatures?.[name];
  if (!signature) return;
  const lines = (side, tensors) => Object.entries(tensors).map(([key, tensor]) =>
    element("li", {}, `${side} `, element("code", {}, key), `: ${tensor.dtype.replace("DT_", "").toLowerCase()} ${shownShape(tensor)}`));
  byId("signature-about").replaceChildren(...lines("input", signature.inputs), ...lines("output", signature.outputs));
  byId("raw").value = template(name, signature.inputs);
}

const shownShape = ({ shape }) => (shape ? `[${shape.map((size) => (size === "-1" ? "any" : size)).join(", ")}]` : "of any shape");

/** A request to start from: by rows where every input has a free first dimension, else by columns. */
function template(name, inputs) {
  const pairs = Object.entries(inputs);
  const byRow = pairs.length > 0 && pairs.every(([, tensor]) => tensor.shape?.[0] === "-1");
  const values = pairs.map(([key, tensor]) =>
    `${jsonString(key)}: ${sampleTensor(tensor.dtype, (tensor.shape ?? []).slice(byRow ? 1 : 0))}`);
  const content = byRow ? `"instances": [\n    {${values.join(", ")}}\n  ]` : `"inputs": {${values.join(", ")}}`;
  return `{\n  "signature_name": ${jsonString(name)},\n  ${content}\n}`;
}

function sampleTensor(dtype, shape) {
  const sizes = shape.map((size) => (size === "-1" ? 1 : Number(size)));
  if (sizes.reduce((all, size) => all * size, 1) > MOST_ELEMENTS) return "[]";
  const one = { DT_STRING: '""', DT_BOOL: "false" }[dtype] ?? (/FLOAT|DOUBLE|HALF|BFLOAT16/.test(dtype) ? "0.0" : "0");
  return sizes.reduceRight((inner, size) => `[${Array(size).fill(inner).join(", ")}]`, one);
}
