// Photos: chosen, taken, dropped or pasted; sent one after another, byte for byte.

const LARGEST_PHOTO = 256e6; // bytes; its base64 must still fit into one string
let photoQueue = Promise.resolve();

function preparePhotos() {
  for (const id of ["files", "camera"]) {
    byId(id).addEventListener("change", (event) => {
      sendPhotos([...event.target.files]);
      event.target.value = ""; // the same photo can be chosen again
    });
  }
  const drop = byId("panel-image");
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault(); // or else the browser would leave this page and open the file
    event.dataTransfer.dropEffect = drop.hidden ? "none" : "copy";
    drop.classList.toggle("over", !drop.hidden);
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    drop.classList.remove("over");
    if (!carriesFiles(event)) return;
    event.preventDefault();
    if (!drop.hidden) sendPhotos([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (drop.hidden || files.length === 0) return;
    event.preventDefault();
    sendPhotos(files);
  });
}

function sendPhotos(files) {
  const chosen = selected();
  if (!chosen || files.length === 0) return;
  const newest = byId("answers").firstChild;
  const cards = files.slice(0, MOST_CARDS).map((file) => photoCard(file, chosen, newest));
  if (files.length > MOST_CARDS) showProblem(`Only the first ${MOST_CARDS} photos are sent.`);
  say(files.length === 1 ? `Sending ${files[0].name}` : `Sending ${cards.length} photos`);
  reveal();
  for (const card of cards) photoQueue = photoQueue.then(() => sendPhoto(card));
}

function photoCard(file, { target, task }, newest) {
  const url = URL.createObjectURL(file);
  const image = element("img", { src: url, alt: "", width: "96", height: "96" });
  const picture = element("div", { class: "picture" }, image);
  image.addEventListener("error", () => picture.replaceChildren(element("span", { class: "hint" }, "no preview")));
  const name = file.name || "pasted photo";
  const sent = { target, task, title: name, detail: shownSize(file.size), picture, forget: () => URL.revokeObjectURL(url) };
  return { ...addCard(sent, newest), file, name };
}

async function sendPhoto(card) {
  if (!card.item.isConnected) return; // cleared while it waited
  card.state.textContent = "sending";
  const curl = curlOfPhoto(card.sent.target, card.name);
  try {
    if (card.file.size > LARGEST_PHOTO) throw failure("This file is too large for this page.", "");
    const body = `{"instances": [{"b64": "${await base64Of(card.file)}"}]}`;
    say(showAnswer(card, await predict(card.sent.target, body), curl));
  } catch (error) {
    say(showFailure(card, error, curl));
    if (MOVED.has(error.status)) lookSoon();
  }
}

function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => reject(failure("The file cannot be read.", "Choose it again.")));
    reader.readAsDataURL(file);
  });
}
