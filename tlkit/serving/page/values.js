// Text to values and back. TensorFlow Serving's JSON knows NaN and Infinity and 64-bit integers; JavaScript's does not.

const byId = (id) => document.getElementById(id);

/** Make an element; strings become text, never markup. */
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Parse an answer in which NaN, Infinity and -Infinity may stand bare. */
function parseAnswer(text) {
  const mark = `number-${crypto.getRandomValues(new Uint32Array(3)).join("-")}:`;
  const quoted = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN/gs, (token) =>
    token[0] === '"' ? token : `"${mark}${token}"`);
  return JSON.parse(quoted, (_, value) =>
    typeof value === "string" && value.startsWith(mark) ? Number(value.slice(mark.length)) : value);
}

/** Write a string as JSON; what a terminal would act upon or show in another order is escaped too. */
function jsonString(text) {
  return JSON.stringify(text).replace(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Write what stands in a field as the JSON of the column's dtype; an Error says what is wrong with it. */
function jsonOfField(field, column) {
  if (field.validity.badInput) {
    throw new Error(column.kind === "date" ? "This date is incomplete." : "This is not a number.");
  }
  const text = field.value;
  if (text.trim() === "" && (text === "" || column.dtype !== "string")) return column.absent;
  if (column.dtype === "string") return jsonString(text);
  if (column.dtype === "int64") {
    if (!/^-?[0-9]+$/.test(text)) throw new Error("This must be a whole number.");
    const whole = BigInt(text);
    if (BigInt.asIntN(64, whole) !== whole) throw new Error("This does not fit into 64 bits.");
    return whole.toString();
  }
  const number = Number(text);
  if (!Number.isFinite(number)) throw new Error("This number is too large.");
  return String(number);
}

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Show a number with all its digits: the server writes a float32 with the fewest that stand for it. */
function shownNumber(value) {
  const text = String(value);
  const parts = typeof value === "number" ? text.match(/^(-?)([0-9]+)(\.[0-9]+)?$/) : null;
  return parts ? parts[1] + plain.format(BigInt(parts[2])) + (parts[3] ?? "") : text;
}

/** Show a score as a percentage that never claims 0 or 100 when it is only near. */
function shownShare(score) {
  if (typeof score !== "number" || !Number.isFinite(score)) return String(score);
  const percent = 100 * score;
  if (percent > 0 && percent < 0.05) return "<0.1%";
  if (percent < 100 && percent >= 99.95) return ">99.9%";
  return `${percent.toFixed(1)}%`;
}

function shownSize(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Show a text on one line, with a mark where it has another. */
function onOneLine(text) {
  return text.trim().replace(/\s*[\r\n]+\s*/g, " ↵ ").replace(/\s+/g, " ");
}

function shortened(text, length) {
  const characters = Array.from(text.slice(0, 2 * length + 2));
  return characters.length > length ? `${characters.slice(0, length - 1).join("")}…` : text;
}

/** Say one thing to screen readers. */
function say(text) {
  byId("said").textContent = text;
}
