// Which models there are, which is chosen, and the panel that fits it.

const SOON = 500, LATER = 5000, CALM = 10000; // milliseconds until the list is read again

let models = [];
let listed = ""; // the list as it was received
let shownPanel = "";
let picked = false; // the user has chosen the version, so another one does not take its place
let used = ""; // the version that was last ready
let problemOfList = false;
let timer, delay = SOON;

const currentModel = () => models.find((model) => model.name === byId("model").value);
const currentVersion = () => currentModel()?.versions.find((one) => one.version === byId("version").value);

/** What is sent to: {target, task, signatures}, or null where nothing can be. */
function selected() {
  const model = currentModel(), version = currentVersion();
  if (version?.state !== "AVAILABLE") return null;
  return { target: { model: model.name, version: version.version }, task: version.task, signatures: version.signatures };
}

function showProblem(text) {
  const place = byId("problem");
  place.textContent = text;
  place.hidden = !text;
}

/** Bring the newest answer into view. */
function reveal() {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("output").scrollTop = 0;
  byId("output").scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
}

/** Read the list and show what has changed; gives whether the next look should be soon. */
async function loadModels() {
  const waited = !isReady(currentVersion());
  let text;
  try {
    const response = await fetch("ui/models.json", { cache: "no-store", redirect: "error" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    text = await response.text();
    models = JSON.parse(text).models;
    if (problemOfList) showProblem("");
    problemOfList = false;
  } catch (error) {
    showProblem(`The list of models cannot be read (${error.message}). Check that the server is running. This page retries.`);
    problemOfList = true;
    return true;
  }
  if (text !== listed) showModels(waited); // an open list of choices stays open where nothing has changed
  listed = text;
  return !isReady(currentVersion()) || models.some(({ versions }) => versions.some(isComing));
}

function showModels(waited) {
  const before = [byId("model").value, byId("version").value];
  byId("model").replaceChildren(...models.map(({ name }) => element("option", { value: name }, name)));
  if (models.some(({ name }) => name === before[0])) byId("model").value = before[0];
  const same = byId("model").value === before[0];
  picked &&= same;
  showVersions(same ? before[1] : "");
  if (waited && isReady(currentVersion())) say(`${currentModel().name} version ${currentVersion().version} is ready.`);
}

const isReady = (version) => version?.state === "AVAILABLE" && Boolean(version.task ?? version.signatures);

/** Whether a version is on its way; one without task and signatures is in a process that is being restarted. */
function isComing({ state, task, signatures }) {
  return state === "START" || state === "LOADING" || (state === "AVAILABLE" && !(task ?? signatures));
}

/** Look at once, and then again and again: soon while something is to come, seldom otherwise, not in a hidden tab. */
async function watch() {
  clearTimeout(timer);
  const soon = await loadModels();
  clearTimeout(timer); // of another look that has ended meanwhile
  delay = soon ? Math.min(2 * delay, LATER) : SOON;
  if (!document.hidden) timer = setTimeout(watch, soon ? delay : CALM);
}

/** Look again soon, since the server has said that something is different. */
function lookSoon() {
  delay = SOON;
  clearTimeout(timer);
  timer = setTimeout(watch, delay);
}

function showVersions(wanted) {
  const versions = currentModel()?.versions ?? [];
  byId("version").replaceChildren(...versions.map(({ version, state }) =>
    element("option", { value: version }, state === "AVAILABLE" ? version : `${version} (${state.toLowerCase()})`)));
  const kept = versions.find((one) =>
    one.version === wanted && (picked || isReady(one) || (one.version === used && isComing(one))));
  const chosen = kept ?? versions.find(isReady) ?? versions.find(isComing) ?? versions[0];
  if (chosen) byId("version").value = chosen.version;
  showVersion();
}

function showVersion() {
  const version = currentVersion();
  const waiting = byId("waiting");
  const kind = isReady(version) ? version.task?.content ?? "raw" : "";
  if (kind) used = version.version;
  for (const name of ["image", "text", "row", "raw"]) byId(`panel-${name}`).hidden = name !== kind;
  waiting.hidden = kind !== "";
  waiting.classList.toggle("coming", !version || isComing(version));
  if (!version) waiting.textContent = "No model is served yet. This page refreshes the list automatically.";
  else if (!kind) waiting.textContent = whyNot(version);
  byId("about").textContent = version ? aboutVersion(version) : "";
  const shape = JSON.stringify([currentModel()?.name, version?.task, version?.signatures]);
  if (!kind || shape === shownPanel) return; // what was typed stays, also while a process is being restarted
  shownPanel = shape;
  if (kind === "image" && version.task.formats.length) {
    byId("files").accept = version.task.formats.map((format) => `image/${format}`).join(",");
  } else if (kind === "image") byId("files").accept = "image/*";
  if (kind === "row") showRowForm(version.task.columns);
  if (kind === "raw") showRawForm(version.signatures);
}

function whyNot(version) {
  if (version.state === "START" || version.state === "LOADING") {
    return `Loading version ${version.version}. The form appears when the version is ready.`;
  }
  if (version.problem) return `${sentence(version.problem)} This page retries.`;
  if (version.state === "UNLOADING" || !version.message) return "This version is no longer served.";
  return `Version ${version.version} could not be loaded: ${version.message}`;
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

function aboutVersion(version) {
  if (version.problem) return version.signatures ? version.problem : "";
  if (!version.task) return version.signatures ? "A SavedModel without a manifest: send raw JSON to its signatures." : "";
  const takes = { image: "Input: photos", text: "Input: texts", row: `Input: rows of ${version.task.columns.length} columns` }[version.task.content];
  const gives = version.task.outputs.map((output) => {
    const about = output.target ? `${output.target}: ` : "";
    if (output.curve) return `${about}a risk, and survival at ${output.times.length} times`;
    if (output.value) return `${about}a number`;
    const names = output.class_names.slice(0, 4).join(", ");
    return `${about}${plain.format(output.class_count)} classes (${names}${output.class_count > 4 ? ", …" : ""})`;
  });
  return `${takes}; output: ${gives.join("; ")}.`;
}

byId("choice").addEventListener("submit", (event) => {
  event.preventDefault();
  watch().then(() => {
    if (problemOfList) return;
    showProblem("");
    say("The list of models is up to date.");
  });
});
byId("model").addEventListener("change", () => {
  picked = false;
  used = "";
  showVersions("");
});
byId("version").addEventListener("change", () => {
  picked = true;
  showVersion();
});
document.addEventListener("visibilitychange", () => document.hidden || watch());
byId("clear").addEventListener("click", () => {
  [...byId("answers").children].forEach(dropCard);
  byId("nothing").hidden = false;
  byId("clear").hidden = true;
  byId("output-title").focus();
  say("Predictions cleared.");
});
preparePhotos();
prepareForms();
watch();
