// What a conversation learns from its own text: the switch, the figures, and the curve of its loss against the base model's.

import { configureAdapter, disableAdapter, getAdapter, resetAdapter } from "./api.js";

const $ = id => document.getElementById(id);
const number = new Intl.NumberFormat("en");

// The drawing, in its own units: the curve lies between the labels of its axes.
const [width, height, left, right, top, bottom] = [280, 128, 30, 8, 8, 20];

export class AdapterCard {
  #id = null; // of the conversation; null for one that is not there yet
  #info = null; // as the server has it
  #updates = new Map(); // by first token: the server remembers only the newest, the journal more
  #asking = false;
  #isOld = false; // something happened while we asked

  constructor() {
    $("adapter-on").addEventListener("change", () => this.#turn($("adapter-on").checked));
    $("adapter-reset").addEventListener("click", () => {
      if (confirm("Forget what this conversation has learned from its text? It learns on from what comes.")) this.#command(resetAdapter);
    });
  }

  /** Whether a conversation that is made now is to learn. */
  get isWanted() { return $("adapter-on").checked; }

  /** Looks at a conversation; null at one that is not there yet. */
  open(id) {
    [this.#id, this.#info] = [id, null];
    this.#updates.clear();
    $("adapter-on").checked = false;
    this.#show();
    if (id) this.#refresh();
  }

  /** An event of the conversation's journal. */
  take(name, { update }) {
    if (!name.startsWith("adapter_")) return;
    if (update) this.#updates.set(update.from, update);
    this.#refresh();
  }

  /** What is learned is the server's to say; an event only tells that there is something new. */
  async #refresh() {
    this.#isOld = true;
    if (this.#asking) return;
    this.#asking = true;
    while (this.#isOld) {
      this.#isOld = false;
      const id = this.#id;
      const info = id && await getAdapter(id).catch(() => null); // that the server is away is told elsewhere, and the next event asks again
      if (id === this.#id) this.#see(info);
      else this.#isOld = this.#id !== null;
    }
    this.#asking = false;
  }

  #see(info) {
    if (!info) return;
    this.#info = info;
    for (const update of info.history) this.#updates.set(update.from, update);
    if (!$("adapter-on").disabled) $("adapter-on").checked = info.enabled;
    this.#show();
  }

  #turn(on) {
    if (!this.#id) { // it is asked for when the conversation is made
      this.#show();
      return;
    }
    if (on) this.#command(id => configureAdapter(id, this.#info?.settings ?? {}));
    else if (!this.#info?.version || confirm("Stop learning? What this conversation has learned is forgotten.")) this.#command(disableAdapter);
    else $("adapter-on").checked = true;
  }

  /** Waits for a reply that is being given to end. */
  async #command(command) {
    const id = this.#id;
    $("adapter-on").disabled = $("adapter-reset").disabled = true;
    let failure = "";
    const info = await command(id).catch(error => { failure = error.message; });
    $("adapter-on").disabled = $("adapter-reset").disabled = false;
    if (id !== this.#id) return;
    $("adapter-on").checked = this.#info?.enabled ?? false;
    this.#see(info);
    [$("adapter-error").textContent, $("adapter-error").hidden] = [failure, !failure];
  }

  #show() {
    const { version = 0, settings, enabled = this.isWanted, trained_to: learned = 0, gain_percent: gain } = this.#info ?? {};
    const after = settings?.start_after;
    const start = after == null ? "once the window is full" : after ? `from ${number.format(after)} tokens on` : "from its beginning";
    $("adapter-state").textContent = !enabled ? "The model stays as it is." : version ? "The model adapts to this text." : `The model adapts to this text ${start}.`;
    $("adapter-version").textContent = version || "base";
    $("adapter-learned").textContent = number.format(learned);
    $("adapter-gain").textContent = gain == null ? "–" : `${gain.toFixed(1)} %`;
    $("adapter-figures").hidden = !settings;
    $("adapter-reset").hidden = !version;
    $("adapter-error").hidden = true;
    const updates = [...this.#updates.values()].sort((a, b) => a.from - b.from);
    $("adapter-curve").hidden = updates.length === 0;
    if (updates.length) draw(updates);
  }
}

/** Loss by chunk, in nats a token: the lower, the better. A chunk's loss is that from before it was learned. */
function draw(updates) {
  const known = updates.filter(u => u.loss.length);
  const losses = known.flatMap(u => [u.loss[0], u.base_loss]);
  const [low, high] = losses.length ? [Math.floor(10 * Math.min(...losses)) / 10, Math.ceil(10 * Math.max(...losses)) / 10] : [0, 1];
  const [from, to] = [updates[0].from, updates.at(-1).to];
  const x = u => left + (width - left - right) * ((u.from + u.to) / 2 - from) / Math.max(1, to - from);
  const y = loss => top + (height - top - bottom) * (high - loss) / Math.max(0.1, high - low);
  const lora = known.map(u => `${x(u).toFixed(1)},${y(u.loss[0]).toFixed(1)}`);
  const base = known.map(u => `${x(u).toFixed(1)},${y(u.base_loss).toFixed(1)}`);
  const floor = height - bottom;
  $("adapter-plot").replaceChildren(
    shape("path", { class: "axis", d: `M${left},${top}V${floor}H${width - right}` }),
    label(left - 4, top + 4, high.toFixed(1), "end"),
    label(left - 4, floor + 1, low.toFixed(1), "end"),
    label(left, height - 6, number.format(from), "start"),
    label(width - right, height - 6, `${number.format(to)} tokens`, "end"),
    shape("polygon", { class: "gain", points: [...lora, ...base.toReversed()].join(" ") }),
    shape("polyline", { class: "base", points: base.join(" ") }),
    shape("polyline", { class: "lora", points: lora.join(" ") }),
    ...updates.map(u => mark(u, x(u), u.loss.length ? y(u.loss[0]) : floor)));
}

/** The end of a chunk; pointing at it tells its figures, or why what it taught was thrown away. */
function mark(update, x, y) {
  const { rejected, loss, base_loss: base } = update;
  const node = rejected ? shape("path", { class: "rejected", d: `M${x - 4},${y - 4}l8,8m0,-8l-8,8` }) : shape("circle", { class: "lora", cx: x, cy: y, r: 2.6 });
  const told = `Tokens ${number.format(update.from)} to ${number.format(update.to)}: ${loss.length ? `loss ${loss[0].toFixed(3)}, base model ${base.toFixed(3)}` : "not learned"}`;
  const group = shape("g", {});
  const title = shape("title", {});
  title.textContent = rejected ? `${told}. Rejected: ${rejected}` : `${told}. Version ${update.version}`;
  group.append(title, shape("circle", { class: "near", cx: x, cy: y, r: 8 }), node);
  return group;
}

function label(x, y, text, anchor) {
  const node = shape("text", { x, y, "text-anchor": anchor });
  node.textContent = text;
  return node;
}

function shape(name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
