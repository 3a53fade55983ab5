// The REST request: where it goes, how a terminal would send it, and what to do about an error.

const LONG_ARGUMENT = 100000; // Linux takes at most 128 KiB in one argument

/** After these the list of models is read again: the version is gone, its process is being restarted, or the server is. */
const MOVED = new Set([0, 404, 503]);

const ADVICE = {
  400: "The server could not use this input.",
  404: "This model or version is no longer served. Choose another one above.",
  413: "The request is too large. Send a smaller input, or raise the server's limit.",
  429: "The server is busy and its queue is full. Wait a moment and send it again.",
  500: "Internal server error. See the server's log.",
  501: "The server does not support this.",
  503: "The model is loading, or the worker process is being restarted. Try again in a few seconds.",
  504: "The request timed out. Try again, or raise the server's timeout.",
};

const predictUrl = (target) =>
  new URL(`v1/models/${encodeURIComponent(target.model)}/versions/${target.version}:predict`, location.href).href;

const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The command that sends a JSON body. */
function curlOfBody(target, body) {
  const url = shellQuoted(predictUrl(target));
  const oneLine = body.replace(/[\r\n]+/g, " "); // between tokens only: inside strings they are escaped
  if (oneLine.length <= LONG_ARGUMENT) return `curl -d ${shellQuoted(oneLine)} ${url}`;
  return `curl -d @- ${url} <<'END'\n${oneLine}\nEND`;
}

/** The command that sends a photo from its file. */
function curlOfPhoto(target, name) {
  const read = `printf '{"instances": [{"b64": "'; base64 < ${shellQuoted(name)} | tr -d '\\n'; printf '"}]}'`;
  return `(${read}) | curl -d @- ${shellQuoted(predictUrl(target))}`;
}

/** Send a body; gives {answer, text, milliseconds}, and an Error with `advice` where there is no answer. */
async function predict(target, body) {
  const started = performance.now();
  let response, text;
  try {
    response = await fetch(predictUrl(target), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
    });
    text = await response.text();
  } catch {
    throw failure("The server did not respond.", "Check that it is running, and see its log.");
  }
  const milliseconds = performance.now() - started;
  let answer = null;
  try {
    answer = parseAnswer(text);
  } catch {
    if (response.ok) throw failure("The response is not JSON.", shortened(text, 300), text);
  }
  if (!response.ok) {
    const known = typeof answer?.error === "string" ? answer.error : shortened(text, 300);
    const advice = ADVICE[response.status] ?? "";
    throw failure(known || "The server gave no reason.", advice, text, response.status);
  }
  return { answer, text, milliseconds };
}

function failure(message, advice, text = "", status = 0) {
  return Object.assign(new Error(message), { advice, text, status });
}
