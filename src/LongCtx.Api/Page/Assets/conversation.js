// A chat that the server keeps. The page shows the journal and nothing else: what is not in it has not been said. So a reload, a lost connection or a
// restarted server lose nothing, and several pages may look at the same conversation.

import { AdapterCard } from "./adapter.js";
import { cancelTurn, createConversation, deleteConversation, followEvents, getConversation, keepsConversations, listConversations, readTurnsBefore, submitTurn } from "./api.js";
import { JournalWriter } from "./journal.js";
import { showReply, showWindow } from "./meter.js";
import { Transcript, element } from "./transcript.js";

/** A conversation may be of any length: so much of it is shown at first, and more each time that more is asked for. */
const turnsAtOnce = 20;

const $ = id => document.getElementById(id);

export class StoredChat {
  /** Whether the server keeps conversations. */
  isKept = false;

  #id = null;
  #leave = null; // ends the reading
  #journal = null; // what is shown of the conversation
  #earliest = null; // the first turn that is shown, 0 when none before it is kept; null before anything is shown
  #frame = 0;
  #adapter = new AdapterCard();

  constructor(transcript, page) {
    this.transcript = transcript;
    this.page = page;
    $("more").addEventListener("click", () => this.#list($("more").dataset.after));
    $("earlier").addEventListener("click", () => this.#showEarlier());
    addEventListener("hashchange", () => this.#open(location.hash.slice(1)));
  }

  /** Reads the list and the conversation that is open, also once more: another key may see others. */
  async start() {
    this.isKept = await keepsConversations().catch(() => false);
    $("list").hidden = $("list-toggle").hidden = $("adapter").hidden = !this.isKept;
    if (!this.isKept) return;
    await this.#list();
    this.#stopReading();
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
        id = (await createConversation(model, text.slice(0, 80), this.#adapter.isWanted)).id;
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
    [this.#id, this.#leave, this.#journal] = [null, null, null];
    $("connection").hidden = $("earlier").hidden = true;
    this.#adapter.open(null);
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
      this.#begin(longctx.policy);
      const told = {
        lost: () => { $("connection").textContent = "The connection is lost. Nothing of the conversation is; trying again …"; $("connection").hidden = false; },
        found: () => { $("connection").hidden = true; },
      };
      for await (const { name, value } of followEvents(id, turnsAtOnce, reading.signal, told)) {
        if (reading.signal.aborted) return;
        if (name === "rewound" && !value.kind) this.#begin(this.#journal.policy);
        else this.#take(name, value);
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

  #begin(policy) {
    this.transcript.clear();
    this.#journal = new JournalWriter(this.transcript, policy, this.page.showError);
    this.#adapter.open(this.#id);
    this.#reach(null);
    this.page.setRunning(null);
  }

  #take(name, value) {
    if (!name.startsWith("adapter_")) $("empty").hidden = true; // of what is learned nothing is shown in the chat
    if (this.#earliest === null) this.#reach(value.turn ?? 0);
    const { turn } = this.#journal;
    this.#journal.take(name, value);
    this.#adapter.take(name, value);
    if (this.#journal.turn !== turn) this.#offerStop(this.#journal.turn);
  }

  #offerStop(turn) {
    const id = this.#id;
    const told = error => this.page.showError(this.#journal?.reply ?? this.transcript.messages.at(-1), error);
    this.page.setRunning(turn ? () => cancelTurn(id, turn).catch(told) : null);
  }

  /** The transcript begins with a turn. */
  #reach(turn) {
    this.#earliest = turn;
    $("earlier").hidden = turn === null || turn <= 1;
    $("earlier").textContent = "Show earlier";
  }

  /** Puts the turns before those that are shown above them. */
  async #showEarlier() {
    const [journal, reading] = [this.#journal, this.#leave];
    const earlier = new JournalWriter(new Transcript(document.createDocumentFragment()), journal.policy, this.page.showError);
    let reached = null;
    $("earlier").disabled = true;
    try {
      for await (const { name, value } of readTurnsBefore(this.#id, this.#earliest, turnsAtOnce, reading.signal)) {
        if (name === "rewound" && !value.kind) return; // the other reading is told too, and begins anew
        reached ??= value.turn ?? 0;
        earlier.take(name, value);
      }
      if (journal !== this.#journal) return; // another conversation, or this one from anew
      this.page.keepPlace(() => {
        this.transcript.prepend(earlier.transcript);
        this.transcript.mark(journal.window);
        this.#reach(reached ?? 0);
      });
    } catch {
      if (journal === this.#journal) $("earlier").textContent = "What was said before could not be read. Try again";
    } finally {
      $("earlier").disabled = false;
    }
  }

  #paint() {
    this.#frame = 0;
    if (!this.#journal) return; // left meanwhile
    const { reply, window, figures, speed } = this.#journal;
    if (reply?.text) {
      this.transcript.draw(reply);
      this.transcript.moveCursor(reply);
    }
    showWindow(window);
    this.transcript.mark(window);
    showReply({ speed: speed.value, ...figures });
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
