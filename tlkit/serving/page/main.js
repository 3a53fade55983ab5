// Which models there are, which is chosen, and the panel that fits it.

let models = [];
let shownPanel = "";

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

async function loadModels() {
  const before = [byId("model").value, byId("version").value];
  try {
    const response = await fetch("ui/models.json", { cache: "no-store", redirect: "error" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    models = (await response.json()).models;
    showProblem("");
  } catch (error) {
    showProblem(`The list of models cannot be read (${error.message}). Is the server still running?`);
    return;
  }
  byId("model").replaceChildren(...models.map(({ name }) => element("option", { value: name }, name)));
  if (models.some(({ name }) => name === before[0])) byId("model").value = before[0];
  showVersions(byId("model").value === before[0] ? before[1] : "");
}

function showVersions(wanted) {
  const versions = currentModel()?.versions ?? [];
  byId("version").replaceChildren(...versions.map(({ version, state }) =>
    element("option", { value: version }, state === "AVAILABLE" ? version : `${version} (${state.toLowerCase()})`)));
  const kept = versions.find(({ version }) => version === wanted);
  const chosen = kept ?? versions.find(({ state }) => state === "AVAILABLE") ?? versions[0];
  if (chosen) byId("version").value = chosen.version;
  showVersion();
}

function showVersion() {
  const version = currentVersion();
  const waiting = byId("waiting");
  const kind = !version || version.state !== "AVAILABLE" ? "" : version.task ? version.task.content : version.signatures ? "raw" : "";
  for (const name of ["image", "text", "row", "raw"]) byId(`panel-${name}`).hidden = name !== kind;
  waiting.hidden = kind !== "";
  if (!version) waiting.textContent = "No model is served yet. Refresh the list in a moment.";
  else if (!kind) {
    waiting.textContent = version.problem || `This version is not available: ${version.state.toLowerCase()}. ${version.message}`;
  }
  byId("about").textContent = version ? aboutVersion(version) : "";
  const shape = JSON.stringify([currentModel()?.name, version?.version, version?.task, version?.signatures]);
  if (shape === shownPanel) return; // refreshing the list keeps what was typed
  shownPanel = shape;
  if (kind === "image" && version.task.formats.length) {
    byId("files").accept = version.task.formats.map((format) => `image/${format}`).join(",");
  } else if (kind === "image") byId("files").accept = "image/*";
  if (kind === "row") showRowForm(version.task.columns);
  if (kind === "raw") showRawForm(version.signatures);
}

function aboutVersion(version) {
  if (version.problem) return version.problem;
  if (!version.task) return version.signatures ? "A SavedModel without a manifest: its signatures take raw JSON." : "";
  const takes = { image: "Takes photos", text: "Takes texts", row: `Takes rows of ${version.task.columns.length} columns` }[version.task.content];
  const gives = version.task.outputs.map((output) => {
    const about = output.target ? `${output.target}: ` : "";
    if (output.kind === "regression") return `${about}a number`;
    const names = output.class_names.slice(0, 4).join(", ");
    return `${about}${plain.format(output.class_count)} classes (${names}${output.class_count > 4 ? ", …" : ""})`;
  });
  return `${takes}; answers ${gives.join("; ")}.`;
}

byId("choice").addEventListener("submit", (event) => {
  event.preventDefault();
  loadModels().then(() => say("The list of models is up to date."));
});
byId("model").addEventListener("change", () => showVersions(""));
byId("version").addEventListener("change", showVersion);
byId("clear").addEventListener("click", () => {
  [...byId("answers").children].forEach(dropCard);
  byId("nothing").hidden = false;
  byId("clear").hidden = true;
  byId("output-title").focus();
  say("Answers cleared.");
});
preparePhotos();
prepareForms();
loadModels();
