// Cards: one for each thing sent, of the height that its answer will have, so that nothing below it jumps.

const FIRST_CLASSES = 5;
const MOST_CARDS = 50;
const MOST_TEXT = 20000;

/** Put a card before another one, or last. `sent` has target, task (or null for raw JSON), title, detail and perhaps a picture. */
function addCard(sent, before = byId("answers").firstChild) {
  const state = element("p", { class: "state" }, "waiting");
  const body = element("div", { class: "body", "aria-busy": "true" }, ...outline(sent.task));
  const words = element("div", { class: "words" },
    element("h3", {}, element("bdi", {}, sent.title)),
    sent.detail ? element("p", { class: "hint detail" }, element("bdi", {}, sent.detail)) : "",
    element("p", { class: "hint" }, element("bdi", {}, sent.target.model), ` · version ${sent.target.version}`),
    state);
  const top = element("div", { class: "top" }, ...(sent.picture ? [sent.picture] : []), words);
  const item = element("li", { class: "card" }, top, body);
  const list = byId("answers");
  list.insertBefore(item, before?.isConnected ? before : null);
  const card = { item, body, state, sent };
  item.forget = () => sent.forget?.();
  while (list.children.length > MOST_CARDS) dropCard(list.lastChild);
  byId("nothing").hidden = true;
  byId("clear").hidden = false;
  return card;
}

function dropCard(item) {
  item.forget?.();
  item.remove();
}

/** What a card looks like before its answer is there. */
function outline(task) {
  if (!task) return [element("p", { class: "line", "aria-hidden": "true" }, "\u00a0")];
  return task.outputs.map((output) => group(output, task, output.value
    ? [element("p", { class: "value" }, "\u00a0"), ...curve(output, [], true)]
    : [bars(longestNames(output), [], output, true)]));
}

/** The names that take the most room, since any of them can be in the answer. */
function longestNames(output) {
  const count = Math.min(FIRST_CLASSES, output.class_count);
  const names = [...output.class_names].sort((a, b) => b.length - a.length).slice(0, count);
  return [...names, ...Array(count - names.length).fill("\u00a0")];
}

/** Fill a card with an answer; returns the words for screen readers. */
function showAnswer(card, result, curl) {
  const { task, target, title } = card.sent;
  hold(card);
  card.state.textContent = `${shownTime(result.milliseconds)} round trip`;
  let shown, spoken;
  try {
    [shown, spoken] = task ? render(task, result.answer) : [[], "response received"];
  } catch (error) {
    [shown, spoken] = [[element("p", { class: "problem" }, error.message)], error.message];
  }
  card.body.replaceChildren(...shown, ...about(curl, result.text, !task));
  card.body.removeAttribute("aria-busy");
  return `${title}, ${target.model} version ${target.version}: ${spoken}`;
}

/** Fill a card with what went wrong; returns the words for screen readers. */
function showFailure(card, error, curl) {
  hold(card);
  card.item.classList.add("failed");
  card.state.textContent = error.status ? `error ${error.status}` : "error";
  // TensorFlow ends its messages with the graph's nodes; the answer as received still has them.
  const message = error.message.replace(/\s*\[\[\{\{(function_)?node [^]*$/, "") || error.message;
  const said = [element("p", {}, element("strong", {}, "Error: "), element("bdi", { class: "server" }, message))];
  if (error.advice) said.push(element("p", { class: "hint" }, error.advice));
  card.body.replaceChildren(element("div", { class: "problem" }, ...said), ...about(curl, error.text, false));
  card.body.removeAttribute("aria-busy");
  return `${card.sent.title}: error. ${message} ${error.advice}`;
}

/** Keep at least the height that the card has now. */
function hold(card) {
  card.body.style.minHeight = `${card.body.offsetHeight}px`;
}

function shownTime(milliseconds) {
  return milliseconds < 999.5 ? `${Math.max(1, Math.round(milliseconds))} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** Turn the answer about one example into elements and one sentence. */
function render(task, answer) {
  const row = answer?.predictions?.[0];
  const names = task.outputs.flatMap((output) => (output.value ? [output.value, ...(output.curve ? [output.curve] : [])] : [output.classes, output.scores]));
  const parts = row !== null && typeof row === "object" && !Array.isArray(row) ? row : { [names[0]]: row };
  if (names.some((name) => parts[name] === undefined)) {
    throw new Error("The response does not have the outputs listed in the manifest. The raw response is below.");
  }
  const spoken = [];
  const shown = task.outputs.map((output) => {
    const about = output.target ? `${output.target}: ` : "";
    if (output.value) {
      const value = shownNumber(parts[output.value]);
      const left = output.curve ? parts[output.curve] : [];
      if (!Array.isArray(left) || left.length !== (output.times ?? []).length) {
        throw new Error("The survival output does not match the times in the manifest. The raw response is below.");
      }
      spoken.push([`${about}${value}`, ...left.map((share, i) => `${survivalAt(output.times[i])} ${shownShare(share)}`)].join(", "));
      return group(output, task, [element("p", { class: "value" }, value), ...curve(output, left, false)]);
    }
    const classes = parts[output.classes], scores = parts[output.scores];
    if (!Array.isArray(classes) || !Array.isArray(scores) || classes.length !== scores.length) {
      throw new Error("Classes and scores do not match. The raw response is below.");
    }
    const first = output.kind === "multi_label" ? 3 : 2;
    spoken.push(about + classes.slice(0, first).map((name, i) => `${name} ${shownShare(scores[i])}`).join(", "));
    return group(output, task, classList(classes, scores, output));
  });
  return [shown, spoken.join("; ")];
}

const survivalAt = (time) => `without event at ${plain.format(time)}`;

/** A bar for each time of a survival curve; nothing where there is none. */
function curve(output, shares, empty) {
  return output.curve ? [bars(output.times.map(survivalAt), shares, output, empty, false)] : [];
}

function group(output, task, children) {
  const named = output.target || (task.outputs.length > 1 ? output.value || output.classes : "");
  const note = output.kind === "multi_label" && output.class_count > 1
    ? [element("p", { class: "hint" }, "One probability per class; they need not add up to 100%.")] : [];
  const title = named ? [element("h4", {}, element("bdi", {}, named))] : [];
  return element("div", { class: "group" }, ...title, ...children, ...note);
}

function classList(classes, scores, output) {
  const shown = [bars(classes.slice(0, FIRST_CLASSES), scores, output, false)];
  if (classes.length > FIRST_CLASSES) {
    const left = classes.length - FIRST_CLASSES;
    const title = left === 1 ? "1 more class" : `${plain.format(left)} more classes`;
    const rest = element("details", {}, element("summary", {}, title));
    rest.addEventListener("toggle", () => {
      if (!rest.open || rest.children.length > 1) return; // thousands of bars are made only when asked for
      rest.append(bars(classes.slice(FIRST_CLASSES), scores.slice(FIRST_CLASSES), output, false, false));
    });
    shown.push(rest);
  }
  return shown;
}

function bars(classes, scores, output, empty, first = true) {
  return element("ol", { class: empty ? "bars empty" : "bars", "aria-hidden": empty ? "true" : null },
    ...classes.map((name, place) => {
      const fill = element("span", { class: "fill" });
      const score = Number(scores[place]);
      fill.style.width = `${Number.isFinite(score) ? Math.min(100, Math.max(0, 100 * score)) : 0}%`;
      const best = first && !empty && place === 0 && output.kind === "single_label";
      return element("li", { class: best ? "best" : null },
        element("bdi", { class: "name" }, String(name)),
        element("span", { class: "share" }, empty ? shownShare(0.9999) : shownShare(scores[place])),
        element("span", { class: "track", "aria-hidden": "true" }, fill));
    }));
}

/** The request as a command and the answer as it came. */
function about(curl, text, open) {
  const found = [];
  if (text) found.push(folded("Raw response", text, open));
  if (curl) found.push(folded("Request as curl command", curl, false));
  return found.length ? [element("div", { class: "extras" }, ...found)] : [];
}

function folded(title, text, open) {
  const left = text.length - MOST_TEXT;
  const shown = left > 0 ? `${text.slice(0, MOST_TEXT)}\n… and ${plain.format(left)} more characters; Copy takes them all` : text;
  const block = element("pre", { tabindex: "0", role: "region", "aria-label": title }, shown);
  const copy = element("button", { type: "button", class: "quiet small", "aria-label": `Copy: ${title}` }, "Copy");
  copy.addEventListener("click", () => copyText(text, block, copy));
  return element("details", { open }, element("summary", {}, title), block, copy);
}

async function copyText(text, block, button) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text); // absent where the page came over plain HTTP from another machine
    done = true;
  } catch {
    const area = element("textarea", { class: "unseen", "aria-hidden": "true", tabindex: "-1" });
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
    if (!done) getSelection().selectAllChildren(block);
  }
  button.textContent = done ? "Copied" : "Selected";
  say(done ? "Copied." : "The text is selected; copy it with the keyboard.");
  setTimeout(() => (button.textContent = "Copy"), 2000);
}
