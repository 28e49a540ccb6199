// A chat that the server keeps. The page shows the journal and nothing else: what is not in it has not been said. So a reload, a lost connection or a
// restarted server lose nothing, and several pages may look at the same conversation.

import { ApiError, cancelTurn, createConversation, deleteConversation, followEvents, getConversation, keepsConversations, listConversations, submitTurn } from "./api.js";
import { Speed, showReply, showWindow } from "./meter.js";
import { element } from "./transcript.js";

const $ = id => document.getElementById(id);

export class StoredChat {
  /** Whether the server keeps conversations. */
  isKept = false;

  #id = null;
  #leave = null; // ends the reading
  #window = null;
  #capacity = 0;
  #sinks = 0;
  #block = 1;
  #reply = null; // the message that is being written
  #figures = {};
  #speed = new Speed();
  #frame = 0;

  constructor(transcript, page) {
    this.transcript = transcript;
    this.page = page;
    $("more").addEventListener("click", () => this.#list($("more").dataset.after));
    addEventListener("hashchange", () => this.#open(location.hash.slice(1)));
  }

  async start() {
    this.isKept = await keepsConversations().catch(() => false);
    $("list").hidden = $("list-toggle").hidden = !this.isKept;
    if (!this.isKept) return;
    await this.#list();
    if (location.hash.startsWith("#conv_")) this.#open(location.hash.slice(1));
  }

  /** Stops looking at the conversation; it goes on. */
  leave() {
    this.#stopReading();
    if (location.hash) history.pushState(null, "", location.pathname);
    $("model").disabled = false;
    this.#mark();
  }

  async send(text) {
    const { model, instructions, temperature } = this.page.request();
    document.querySelectorAll(".error").forEach(node => node.remove());
    $("send").disabled = true;
    try {
      let id = this.#id;
      if (!id) {
        id = (await createConversation(model, text.slice(0, 80))).id;
        history.pushState(null, "", `#${id}`);
        this.#open(id);
        this.#list();
      }
      await submitTurn(id, { text, instructions, temperature });
      this.page.taken();
      this.page.scrollToEnd();
    } catch (error) {
      // The text stays where it was written.
      const box = element("li", "message");
      $("transcript").append(box);
      this.page.showError({ text, node: box }, error);
      $("send").disabled = false;
      this.page.scrollToEnd();
    }
  }

  #stopReading() {
    this.#leave?.abort();
    [this.#id, this.#leave, this.#reply] = [null, null, null];
    $("connection").hidden = true;
    this.page.setRunning(null);
  }

  async #open(id) {
    if (id === this.#id) return;
    this.#stopReading();
    this.page.clear();
    document.body.classList.remove("list-open");
    if (!id.startsWith("conv_")) {
      $("model").disabled = false;
      this.#mark();
      return;
    }
    this.#id = id;
    this.#mark();
    const reading = this.#leave = new AbortController();
    try {
      const { longctx } = await getConversation(id);
      if (reading.signal.aborted) return;
      if ([...$("model").options].some(option => option.value === longctx.model)) $("model").value = longctx.model;
      $("model").disabled = true; // a conversation keeps its model
      this.#begin();
      const told = {
        lost: () => { $("connection").textContent = "The connection is lost. Nothing of the conversation is; trying again …"; $("connection").hidden = false; },
        found: () => { $("connection").hidden = true; },
      };
      for await (const event of followEvents(id, 0, reading.signal, told)) {
        if (reading.signal.aborted) return;
        this.#take(event.name, event.value);
        this.#frame ||= requestAnimationFrame(() => this.#paint());
      }
    } catch (error) {
      if (reading.signal.aborted) return;
      const box = element("li", "message");
      $("transcript").append(box);
      $("empty").hidden = true;
      this.page.showError({ text: "", node: box, body: box }, error);
    }
  }

  #begin() {
    this.transcript.clear();
    [this.#reply, this.#figures, this.#speed, this.#window] = [null, {}, new Speed(), { visible: 0, capacity: 0, evicted: 0, total: 0, sinks: 0 }];
    this.page.setRunning(null);
  }

  /** One event of the journal. */
  #take(kind, e) {
    $("empty").hidden = true;
    if (e.policy) [this.#sinks, , , this.#capacity, this.#block] = e.policy.split(",").map(Number);
    if (e.kind && e.token_count) this.#grow(e);
    switch (kind) {
      case "rewound":
        if (!e.kind) this.#begin();
        break;
      case "gap":
        this.transcript.list.append(element("li", "edge", "what was said before is no longer kept"));
        break;
      case "input_appended":
        this.transcript.addPlaced(e.messages, e.token_start, e.token_count);
        break;
      case "turn_accepted": {
        this.transcript.addPlaced(e.messages, e.token_start, e.token_count);
        this.#write(e.token_start + e.token_count);
        [this.#figures, this.#speed] = [{}, new Speed()];
        const id = this.#id;
        this.page.setRunning(() => cancelTurn(id, e.turn).catch(error => this.page.showError(this.#reply ?? this.transcript.messages.at(-1), error)));
        break;
      }
      case "delta":
        if (!this.#reply) this.#write(e.token_start);
        this.#reply.text += e.text;
        this.#reply.to = e.token_start + e.token_count;
        this.#figures.reply = this.#reply.to - this.#reply.from;
        this.#speed.add(this.#reply.to, e.at);
        break;
      case "completed":
      case "cancelled":
        this.#end(e, kind === "cancelled" ? "Stopped." : "The model ended its turn without a word.");
        break;
      case "failed":
        if (!this.#reply) this.#write(e.token_start);
        this.page.showError(this.#reply, new ApiError(e.message, e.code));
        this.#rest();
        break;
    }
  }

  /**
   * How the window stands by the policy alone: what is over the capacity has left, in whole blocks. The end of a turn tells it exactly. (Segments in the journal are
   * stored before they leave, so they do not tell.)
   */
  #grow(e) {
    const total = e.token_start + e.token_count;
    const over = this.#capacity ? Math.max(0, total - this.#capacity) : 0;
    const evicted = Math.max(this.#window.evicted, Math.ceil(over / this.#block) * this.#block);
    this.#window = { visible: total - evicted, capacity: this.#capacity, evicted, total, sinks: Math.min(this.#sinks, total) };
  }

  #write(from) {
    this.#reply = this.transcript.add("assistant");
    [this.#reply.from, this.#reply.to] = [from, from];
    this.#reply.body.append(element("span", "waiting cursor", "Reading "));
  }

  #end(e, nothing) {
    if (!this.#reply) this.#write(e.token_start);
    const { usage } = e;
    this.#reply.text += e.text;
    if (this.#reply.text) this.transcript.draw(this.#reply);
    else this.#reply.body.replaceChildren(element("span", "waiting", nothing));
    this.#reply.to = Math.max(this.#reply.to, e.token_start + e.token_count);
    this.#window = { ...usage.window };
    this.#figures = {
      prompt: usage.input_tokens, cached: usage.cached_tokens, reply: usage.output_tokens, evicted: usage.evicted_tokens, prefill: usage.prefill_seconds,
      speed: usage.decode_seconds > 0 && usage.output_tokens > 1 ? (usage.output_tokens - 1) / usage.decode_seconds : undefined,
    };
    this.#rest();
  }

  #rest() {
    this.#reply.body.querySelectorAll(".cursor").forEach(node => node.classList.remove("cursor"));
    this.#reply = null;
    this.page.setRunning(null);
  }

  #paint() {
    this.#frame = 0;
    if (this.#reply?.text) {
      this.transcript.draw(this.#reply);
      this.transcript.moveCursor(this.#reply);
    }
    showWindow(this.#window);
    this.transcript.mark(this.#window);
    showReply({ speed: this.#speed.value, ...this.#figures });
    this.page.followEnd();
  }

  /** Fills the list, or adds a page to it. */
  async #list(after) {
    const page = await listConversations(after).catch(() => undefined);
    if (!page) return; // told where it matters: when something is sent
    const rows = page.data.map(conversation => this.#row(conversation));
    if (after) $("conversations").append(...rows);
    else $("conversations").replaceChildren(...rows);
    $("more").hidden = !page.has_more;
    $("more").dataset.after = page.last_id ?? "";
    this.#mark();
  }

  #row({ id, metadata, created_at: created }) {
    const row = element("li", "");
    row.dataset.id = id;
    const link = Object.assign(element("a", "", metadata.title || new Date(created * 1000).toLocaleString("en")), { href: `#${id}` });
    const remove = Object.assign(element("button", "", "×"), { type: "button", title: "Delete this conversation" });
    remove.setAttribute("aria-label", `Delete ${link.textContent}`);
    remove.addEventListener("click", async () => {
      if (!confirm(`Delete “${link.textContent}” for good?`)) return;
      await deleteConversation(id).catch(error => { if (error.code !== "deleted" && error.code !== "not_found") throw error; });
      row.remove();
      if (id === this.#id) { this.leave(); this.page.clear(); }
    });
    row.append(link, remove);
    return row;
  }

  #mark() {
    for (const row of $("conversations").children) row.classList.toggle("current", row.dataset.id === this.#id);
  }
}
