// The transcript: messages, where each lies in the token log, and which of them the model still sees.

import { render } from "./markdown.js";

const names = { system: "System prompt", user: "You", assistant: "LongCtx" };

export class Transcript {
  messages = [];

  constructor(list) {
    this.list = list;
    this.edge = element("li", "edge", "text above has left the window");
  }

  add(role, text = "") {
    const message = { role, text, from: undefined, to: undefined };
    message.node = element("li", `message ${role}`);
    message.who = element("div", "who");
    message.body = element("div", "body");
    message.who.append(element("span", "name", names[role]));
    message.node.append(message.who, message.body);
    this.messages.push(message);
    this.list.append(message.node);
    this.draw(message);
    return message;
  }

  /** Messages of an event: they share its tokens in proportion to their length, which is an estimate where there are several. */
  addPlaced(messages, start, count) {
    const weight = message => message.content.length + 16;
    const whole = messages.reduce((sum, message) => sum + weight(message), 0);
    let share = 0;
    for (const { role, content } of messages) {
      const message = this.add(role === "developer" ? "system" : role, content);
      message.from = start + Math.round(count * share / whole);
      share += weight({ content });
      message.to = start + Math.round(count * share / whole);
    }
  }

  /** Takes over what was said before all that is here; its list is a fragment. */
  prepend(earlier) {
    this.messages.unshift(...earlier.messages);
    this.list.prepend(earlier.list);
  }

  /** The system prompt is a message of its own, always the first. */
  setSystem(text) {
    if (text && this.messages[0]?.role !== "system") {
      const message = this.add("system", text);
      this.messages.unshift(this.messages.pop());
      this.list.prepend(message.node);
      this.forgetPlaces();
    } else if (text && this.messages[0].text !== text) {
      this.messages[0].text = text;
      this.draw(this.messages[0]);
      this.forgetPlaces();
    } else if (!text && this.messages[0]?.role === "system") {
      this.remove(this.messages[0]);
      this.forgetPlaces();
    }
  }

  remove(message) {
    message.node.remove();
    this.messages.splice(this.messages.indexOf(message), 1);
  }

  clear() {
    this.messages = [];
    this.list.replaceChildren();
  }

  draw(message) {
    if (message.role === "assistant") render(message.body, message.text);
    else message.body.textContent = message.text;
  }

  /** To the end of what has been written; paragraphs that did not change are the same elements as before. */
  moveCursor(message) {
    message.body.querySelectorAll(".cursor").forEach(node => node.classList.remove("cursor"));
    message.body.lastElementChild?.classList.add("cursor");
  }

  /** What the server is sent: everything said, without replies that never came. */
  request() {
    return this.messages.filter(m => m.role !== "assistant" || m.text).map(m => ({ role: m.role, content: m.text }));
  }

  /**
   * The prompt was counted: the messages before the reply end at that many tokens. Where earlier replies already told, that stays; the others share
   * what is left in proportion to their length, which is an estimate.
   */
  place(reply, promptTokens) {
    const before = this.messages.slice(0, this.messages.indexOf(reply));
    const known = before.findIndex(message => message.to === undefined || message.to > promptTokens);
    const open = known < 0 ? [] : before.slice(known);
    const start = known > 0 ? before[known - 1].to : 0;
    const weight = message => message.text.length + 16;
    const whole = open.reduce((sum, message) => sum + weight(message), 0);
    let share = 0;
    for (const message of open) {
      message.from = start + Math.round((promptTokens - start) * share / whole);
      share += weight(message);
      message.to = start + Math.round((promptTokens - start) * share / whole);
    }
    reply.from = promptTokens;
    reply.to = promptTokens;
  }

  /** Another model or system prompt counts differently. */
  forgetPlaces() {
    for (const message of this.messages) message.from = message.to = undefined;
  }

  /** Marks every message: always kept, gone, partly gone, or visible. */
  mark({ evicted, sinks }) {
    let lastOut = null;
    for (const message of this.messages) {
      const state = placeOf(message, sinks, sinks + evicted, evicted);
      if (state === "out" || state === "partly") lastOut = message;
      if (message.state === state) continue;
      message.state = state;
      message.node.classList.toggle("out", state === "out");
      message.node.classList.toggle("partly", state === "partly");
      message.who.querySelector(".tag")?.remove();
      if (state) message.who.append(element("span", `tag ${state}`, { out: "left the window", partly: "partly left", sink: "always kept" }[state]));
    }
    if (lastOut === null) this.edge.remove();
    else if (lastOut.node.nextSibling !== this.edge) lastOut.node.after(this.edge);
  }
}

function placeOf({ role, from, to }, sinks, visibleFrom, evicted) {
  if (to === undefined || evicted === 0) return "";
  if (to <= sinks || (role === "system" && from < sinks)) return "sink";
  if (to <= visibleFrom) return "out";
  return from < visibleFrom && to > from ? "partly" : "";
}

export function element(tag, className, text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}
