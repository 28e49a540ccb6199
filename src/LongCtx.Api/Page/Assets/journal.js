// What a journal says, written into a transcript: the same whether its events are long past or happen now.

import { ApiError } from "./api.js";
import { Speed } from "./meter.js";
import { element } from "./transcript.js";

export class JournalWriter {
  /** The message that is being written; null between turns. */
  reply = null;

  /** The turn that is being answered; 0 for none. */
  turn = 0;

  window = { visible: 0, capacity: 0, evicted: 0, total: 0, sinks: 0 };
  figures = {};
  speed = new Speed();

  /** The policy S,W,G,C,B; null for a conversation without tokens, whose first event will tell it. */
  constructor(transcript, policy, showError) {
    this.transcript = transcript;
    this.policy = policy;
    this.showError = showError;
  }

  /** One event. */
  take(kind, e) {
    this.policy = e.policy ?? this.policy;
    if (this.policy && e.token_count) this.#grow(e);
    switch (kind) {
      case "gap":
        this.transcript.list.append(element("li", "edge", "what was said before is no longer kept"));
        break;
      case "input_appended":
        this.transcript.addPlaced(e.messages, e.token_start, e.token_count);
        break;
      case "turn_accepted":
        this.transcript.addPlaced(e.messages, e.token_start, e.token_count);
        this.#begin(e.turn, e.token_start + e.token_count);
        [this.figures, this.speed] = [{}, new Speed()];
        break;
      case "delta":
        if (!this.reply) this.#begin(e.turn, e.token_start);
        this.reply.text += e.text;
        this.reply.to = e.token_start + e.token_count;
        this.figures.reply = this.reply.to - this.reply.from;
        this.speed.add(this.reply.to, e.at);
        break;
      case "completed":
      case "cancelled":
        this.#end(e, kind === "cancelled" ? "Stopped." : "The model ended its turn without a word.");
        break;
      case "failed":
        if (!this.reply) this.#begin(e.turn, e.token_start);
        if (this.reply.text) this.transcript.draw(this.reply);
        this.showError(this.reply, new ApiError(e.message, e.code));
        this.#rest();
        break;
    }
  }

  /**
   * How the window stands by the policy alone: what is over the capacity has left, in whole blocks. The end of a turn tells it exactly. (Segments in the journal are
   * stored before they leave, so they do not tell.)
   */
  #grow(e) {
    const [sinks, , , capacity, block] = this.policy.split(",").map(Number);
    const total = e.token_start + e.token_count;
    const over = capacity ? Math.max(0, total - capacity) : 0;
    const evicted = Math.max(this.window.evicted, Math.ceil(over / block) * block);
    this.window = { visible: total - evicted, capacity, evicted, total, sinks: Math.min(sinks, total) };
  }

  #begin(turn, from) {
    this.turn = turn;
    this.reply = this.transcript.add("assistant");
    [this.reply.from, this.reply.to] = [from, from];
    this.reply.body.append(element("span", "waiting cursor", "Reading "));
  }

  #end(e, nothing) {
    if (!this.reply) this.#begin(e.turn, e.token_start);
    const { usage } = e;
    this.reply.text += e.text;
    if (this.reply.text) this.transcript.draw(this.reply);
    else this.reply.body.replaceChildren(element("span", "waiting", nothing));
    this.reply.to = Math.max(this.reply.to, e.token_start + e.token_count);
    this.window = { ...usage.window };
    this.figures = {
      prompt: usage.input_tokens, cached: usage.cached_tokens, reply: usage.output_tokens, evicted: usage.evicted_tokens, prefill: usage.prefill_seconds,
      speed: usage.decode_seconds > 0 && usage.output_tokens > 1 ? (usage.output_tokens - 1) / usage.decode_seconds : undefined,
    };
    this.#rest();
  }

  #rest() {
    this.reply.body.querySelectorAll(".cursor").forEach(node => node.classList.remove("cursor"));
    [this.reply, this.turn] = [null, 0];
  }
}
