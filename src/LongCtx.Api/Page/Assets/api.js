// The server, as the page sees it: OpenAI's API.

/** An error answer or event of the server. */
export class ApiError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

export async function listModels() {
  const response = await fetch("/v1/models");
  if (!response.ok) throw await failure(response);
  return (await response.json()).data;
}

/** Streams a chat completion: yields its chunks, throws ApiError. Returns only when the server said [DONE]. */
export async function* streamChat(request, signal) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true, include_longctx: true } }),
    signal,
  });
  if (!response.ok) throw await failure(response);
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, chunk.error.code);
    yield chunk;
  }
  throw new ApiError("The connection ended before the reply did.", "connection_lost");
}

/** The data of each server-sent event; comments are skipped. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter(line => line.startsWith("data: ")).map(line => line.slice(6)).join("\n");
      if (data) yield data;
    }
  }
}

async function failure(response) {
  const wait = response.headers.get("Retry-After");
  try {
    const { error } = await response.json();
    return new ApiError(error.message + (wait ? ` Try again in ${wait} s.` : ""), error.code);
  } catch {
    return new ApiError(`The server answered ${response.status}.`, String(response.status));
  }
}
