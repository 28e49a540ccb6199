// What the panel and the strip show: the window, the whole conversation, the last reply.

const $ = id => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const show = (id, text) => { $(id).textContent = text; };
const tokens = value => number.format(value);

/** A window: { visible, capacity, evicted, total, sinks }; capacity 0 is unlimited. */
export function showWindow(window) {
  const { visible, capacity, evicted, total } = window;
  const sinks = Math.min(window.sinks, visible);
  const recent = visible - sinks;
  const room = capacity || visible || 1;
  for (const meter of [$("meter"), document.querySelector(".strip .meter")]) parts(meter, room, [sinks, recent]);
  parts($("tape"), total || 1, [sinks, evicted, recent]);
  const percent = Math.round(100 * Math.min(1, visible / room));
  $("meter").setAttribute("aria-valuenow", capacity ? percent : 0);
  show("fill", total === 0 ? "empty" : !capacity ? "no limit" : evicted > 0 ? "full, moving on" : `${percent} % full`);
  show("visible", tokens(visible));
  show("capacity", capacity ? `of ${tokens(capacity)} tokens` : "tokens, no limit");
  show("total", `${tokens(total)} tokens`);
  show("sinks", tokens(sinks));
  show("evicted", tokens(evicted));
  show("recent", tokens(recent));
  show("strip-text", `${tokens(visible)}${capacity ? ` / ${tokens(capacity)}` : ""}${evicted ? ` · ${tokens(evicted)} left` : ""}`);
}

/** Figures of a reply; one that is not known yet is shown as a dash. */
export function showReply({ speed, reply, prompt, cached, prefill, evicted }) {
  const text = (value, format = tokens) => value === undefined ? "–" : format(value);
  show("speed", text(speed, s => s.toFixed(s < 10 ? 1 : 0)));
  show("reply-tokens", text(reply));
  show("prompt-tokens", text(prompt));
  show("cached-tokens", text(cached));
  show("prefill", text(prefill, s => s.toFixed(2)));
  show("reply-evicted", text(evicted));
}

/** Tokens per second over the last two seconds. */
export class Speed {
  #samples = [];

  add(total, now = performance.now()) {
    this.#samples.push({ now, total });
    while (this.#samples.length > 2 && now - this.#samples[0].now > 2000) this.#samples.shift();
  }

  get value() {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    return last && last.now - first.now > 50 ? (last.total - first.total) / ((last.now - first.now) / 1000) : undefined;
  }
}

function parts(meter, whole, sizes) {
  [...meter.children].forEach((part, i) => { part.style.width = `${Math.min(100, 100 * sizes[i] / whole)}%`; });
}
