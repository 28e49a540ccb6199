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

/** The key that goes with every request, "" for none, and who is told when the server does not take it. */
export const access = { key: "", refused: () => {} };

async function send(path, request = {}) {
  const { key } = access;
  const response = await fetch(path, key ? { ...request, headers: { ...request.headers, Authorization: `Bearer ${key}` } } : request);
  if (response.status === 401 && key === access.key) access.refused(); // not when another key has been given since
  return response;
}

/** The answer, which is no error. */
async function call(path, request) {
  const response = await send(path, request);
  if (!response.ok) throw await failure(response);
  return response;
}

const ask = async (path, request) => (await call(path, request)).json();

const json = body => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const listModels = async () => (await ask("/v1/models")).data;

/** Streams a chat completion: yields its chunks, throws ApiError. Returns only when the server said [DONE]. */
export async function* streamChat(request, signal) {
  const body = { ...request, stream: true, stream_options: { include_usage: true, include_longctx: true } };
  const response = await call("/v1/chat/completions", { ...json(body), signal });
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, chunk.error.code);
    yield chunk;
  }
  throw new ApiError("The connection ended before the reply did.", "connection_lost");
}

/** Whether the server keeps conversations. One that is busy says so too. */
export const keepsConversations = async () => (await (await send("/health")).json()).conversations;

/** A page of the conversations, newest first. */
export const listConversations = after => ask(`/v1/conversations?limit=40${after ? `&after=${after}` : ""}`);

export const getConversation = id => ask(`/v1/conversations/${encodeURIComponent(id)}`);
/** One that adapts learns from its own text. */
export const createConversation = (model, title, adapts) => ask("/v1/conversations", json({ model, metadata: { title }, adapter: adapts ? {} : undefined }));
export const deleteConversation = id => ask(`/v1/conversations/${id}`, { method: "DELETE" });
export const cancelTurn = (id, turn) => ask(`/v1/responses/resp_${id.slice("conv_".length)}_${turn}/cancel`, { method: "POST" });

export const getAdapter = id => ask(`/v1/conversations/${id}/adapter`);
export const configureAdapter = (id, settings) => ask(`/v1/conversations/${id}/adapter`, json(settings));
export const resetAdapter = id => ask(`/v1/conversations/${id}/adapter/reset`, { method: "POST" });
export const disableAdapter = id => ask(`/v1/conversations/${id}/adapter`, { method: "DELETE" });

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

/** Events of a conversation's journal over one connection: yields { name, value }. */
async function* readEvents(conversation, query, signal, opened = () => {}) {
  const response = await call(`/v1/conversations/${conversation}/events?${query}`, { signal });
  opened();
  for await (const { name, data } of namedEvents(response.body)) {
    const value = JSON.parse(data);
    if (name === "error") throw new ApiError(value.error.message, value.error.code);
    yield { name, value };
  }
}

/** The newest turns before a turn. */
export const readTurnsBefore = (conversation, turn, count, signal) => readEvents(conversation, `turns=${count}&before=${turn}`, signal);

/**
 * The journal of a conversation from its newest turns on, without end. A connection that is lost is made again behind the last event; `lost` and
 * `found` are told. Ends only by the signal, or throws ApiError when the conversation is gone.
 */
export async function* followEvents(conversation, turns, signal, { lost, found }) {
  let after = null; // no event was seen yet
  for (let attempt = 0; !signal.aborted; attempt++) {
    let rewound = false;
    try {
      for await (const event of readEvents(conversation, after === null ? `turns=${turns}` : `after=${after}`, signal, found)) {
        const { name, value } = event;
        rewound = value.kind === undefined && name === "rewound";
        if (rewound) after = null; // what was seen may not exist: the newest turns are read again
        else if (name === "gap") after = value.first - 1;
        else if (after !== null && value.seq <= after) continue;
        else after = value.seq;
        attempt = 0;
        yield event;
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

/** Each server-sent event that arrived whole. Whoever stops reading closes the connection. */
async function* namedEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
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
  } finally {
    reader.cancel().catch(() => { /* it has ended with an error, which is told already */ });
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
