// The server, as the page sees it: OpenAI's API.

/** An error answer or event of the server. */
export class ApiError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }

  /** Whether the same request may succeed a little later. */
  get isPassing() {
    return ["shutting_down", "store_unavailable", "queue_full", "502", "503", "504"].includes(this.code);
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

const json = body => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

async function ask(path, request) {
  const response = await fetch(path, request);
  if (!response.ok) throw await failure(response);
  return response.json();
}

/** Whether the server keeps conversations. One that is busy says so too. */
export const keepsConversations = async () => (await (await fetch("/health")).json()).conversations;

/** A page of the conversations, newest first. */
export const listConversations = after => ask(`/v1/conversations?limit=40${after ? `&after=${after}` : ""}`);

export const getConversation = id => ask(`/v1/conversations/${encodeURIComponent(id)}`);
export const createConversation = (model, title) => ask("/v1/conversations", json({ model, metadata: { title } }));
export const deleteConversation = id => ask(`/v1/conversations/${id}`, { method: "DELETE" });
export const cancelTurn = (id, turn) => ask(`/v1/responses/resp_${id.slice("conv_".length)}_${turn}/cancel`, { method: "POST" });

/** Sends a turn; when this returns, it is stored. The key makes it run once, so it is sent again when the connection fails. */
export async function submitTurn(conversation, { text, instructions, temperature }) {
  const key = [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, "0")).join("");
  const request = json({ conversation, input: text, instructions: instructions || undefined, temperature, background: true });
  request.headers["Idempotency-Key"] = key;
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask("/v1/responses", request);
    } catch (error) {
      if (error instanceof ApiError || attempt === 5) throw error;
      await wait(500 * attempt);
    }
  }
}

/**
 * The journal of a conversation behind an event, without end: yields { name, value }. A connection that is lost is made again behind the last event; `lost` and
 * `found` are told. Ends only by the signal, or throws ApiError when the conversation is gone.
 */
export async function* followEvents(conversation, after, signal, { lost, found }) {
  for (let attempt = 0; !signal.aborted; attempt++) {
    let rewound = false;
    try {
      const response = await fetch(`/v1/conversations/${conversation}/events?after=${after}`, { signal });
      if (!response.ok) throw await failure(response);
      found();
      for await (const { name, data } of namedEvents(response.body)) {
        const value = JSON.parse(data);
        if (name === "error") throw new ApiError(value.error.message, value.error.code);
        rewound = value.kind === undefined && name === "rewound";
        if (rewound) after = 0; // what was seen may not exist: it is read again from its beginning
        else if (name === "gap") after = value.first - 1;
        else if (value.seq <= after) continue;
        else after = value.seq;
        attempt = 0;
        yield { name, value };
        if (rewound) break;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && !error.isPassing) throw error;
    }
    if (rewound) continue;
    lost();
    await wait(Math.min(5000, 250 * 2 ** attempt), signal);
  }
}

const wait = (milliseconds, signal) => new Promise(resolve => {
  const timer = setTimeout(resolve, milliseconds);
  signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
});

/** The data of each server-sent event; comments are skipped. */
async function* events(stream) {
  for await (const { data } of namedEvents(stream)) yield data;
}

/** Each server-sent event that arrived whole. */
async function* namedEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n");
      const data = lines.filter(line => line.startsWith("data: ")).map(line => line.slice(6)).join("\n");
      if (data) yield { name: lines.find(line => line.startsWith("event: "))?.slice(7) ?? "", data };
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
