// Wires the page: settings, sending, stopping, scrolling.

import { access, listModels, streamChat } from "./api.js";
import { StoredChat } from "./conversation.js";
import { Speed, showReply, showWindow } from "./meter.js";
import { Transcript, element } from "./transcript.js";

const $ = id => document.getElementById(id);
const transcript = new Transcript($("transcript"));
const emptyWindow = { visible: 0, capacity: 0, evicted: 0, total: 0, sinks: 0 };
let models = [];
let running = null;
let needsKey = false;

// Settings outlive the page where the browser allows it.
const settings = {
  get(name) { try { return localStorage.getItem(`longctx.${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`longctx.${name}`, value); } catch { /* private mode */ } },
};

function applyTheme(choice) {
  const dark = choice === "dark" || (choice === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

function setUpSettings() {
  const theme = settings.get("theme") ?? "auto";
  for (const radio of document.querySelectorAll("[name=theme]")) {
    radio.checked = radio.value === theme;
    radio.addEventListener("change", () => { settings.set("theme", radio.value); applyTheme(radio.value); });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => applyTheme(document.querySelector("[name=theme]:checked").value));
  applyTheme(theme);

  $("system").value = settings.get("system") ?? "";
  $("system").addEventListener("change", () => settings.set("system", $("system").value));
  $("temperature").value = settings.get("temperature") ?? "0.7";
  const showTemperature = () => { $("temperature-value").value = Number($("temperature").value).toFixed(1); };
  $("temperature").addEventListener("input", () => { showTemperature(); settings.set("temperature", $("temperature").value); });
  showTemperature();

  $("key").value = access.key = settings.get("key") ?? "";
  $("key").addEventListener("change", changeKey);
  access.refused = askForKey;
}

function changeKey() {
  $("key").value = $("key").value.trim();
  if (!$("key").checkValidity()) {
    tellOfKey("An API key is made of ASCII characters without spaces: this is none.");
    return;
  }
  access.key = $("key").value;
  settings.set("key", access.key);
  load();
}

/** The server has refused a request for its key, or for having none. */
function askForKey() {
  needsKey = true;
  tellOfKey(access.key ? "This server does not know the API key. Check it, or ask the server's operator for one."
    : "This server needs an API key: enter it under Settings. The server's operator has one for you.");
  openPanel(true);
  $("key").focus();
}

function tellOfKey(text) {
  for (const note of document.querySelectorAll(".key-note")) [note.textContent, note.hidden] = [text, !text];
}

/** What the server has for us; once more when the key was changed. */
async function load() {
  await loadModels();
  if (!needsKey) await stored.start();
}

async function loadModels() {
  try {
    models = (await listModels()).filter(model => model.longctx.kind === "decoder");
    if (needsKey) openPanel(false);
    needsKey = false;
    tellOfKey("");
    $("model").replaceChildren(...models.map(model => new Option(model.id, model.id)));
    const saved = settings.get("model");
    if (models.some(model => model.id === saved)) $("model").value = saved;
    $("model").disabled = models.length === 0;
    describeModel();
  } catch (error) {
    $("model-note").textContent = needsKey ? "" : `The models could not be read: ${error.message}`;
  }
}

function describeModel() {
  const model = models.find(m => m.id === $("model").value);
  if (!model) return;
  const { architecture, parameters, quantization, trained_length: trained, policy } = model.longctx;
  const size = parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)} B` : `${(parameters / 1e6).toFixed(0)} M`;
  $("model-note").textContent = `${architecture}, ${size} parameters, ${quantization}, trained on ${trained.toLocaleString("en")} tokens. Policy S,W,G,C,B = ${policy}.`;
  const numbers = policy.split(",").map(Number);
  if (transcript.messages.length === 0) showWindow({ ...emptyWindow, capacity: numbers[3] || 0 });
}

/** Asks for a reply to the transcript as it stands and streams it in. */
async function reply() {
  const message = transcript.add("assistant");
  const controller = new AbortController();
  running = controller;
  updateButtons();
  message.body.append(element("span", "waiting cursor", "Reading "));
  scrollToEnd();

  const speed = new Speed();
  const figures = {};
  let frame = 0;
  let state = null;
  const paint = () => {
    frame = 0;
    if (message.text) transcript.draw(message);
    transcript.moveCursor(message);
    if (state) { showWindow(state); transcript.mark(state); }
    showReply({ ...figures, speed: speed.value });
    followEnd();
  };

  try {
    const request = { model: $("model").value, messages: transcript.request(), temperature: Number($("temperature").value) };
    for await (const chunk of streamChat(request, controller.signal)) {
      const extra = chunk.longctx ?? {};
      if (extra.prompt_tokens !== undefined) {
        Object.assign(figures, { prompt: extra.prompt_tokens, cached: extra.cached_tokens, reply: 0 });
        transcript.place(message, extra.prompt_tokens);
      }
      if (extra.window) {
        state = extra.window;
        speed.add(state.total);
        message.to = Math.max(message.from, state.total);
        figures.reply = message.to - message.from;
      }
      message.text += chunk.choices[0]?.delta.content ?? "";
      if (chunk.usage) finish(figures, chunk.usage);
      frame ||= requestAnimationFrame(paint);
    }
    if (!message.text) message.body.replaceChildren(element("span", "waiting", "The model ended its turn without a word."));
  } catch (error) {
    if (error.name !== "AbortError") showError(message, error);
  } finally {
    cancelAnimationFrame(frame);
    running = null;
    updateButtons();
    if (!transcript.messages.includes(message)) return;
    if (message.text) transcript.draw(message);
    message.body.querySelectorAll(".cursor").forEach(node => node.classList.remove("cursor"));
    if (!message.text && controller.signal.aborted) message.body.replaceChildren(element("span", "waiting", "Stopped."));
    if (state) { showWindow(state); transcript.mark(state); }
    showReply({ ...figures, speed: figures.speed ?? speed.value });
    offerActions(message);
    followEnd();
  }
}

function finish(figures, usage) {
  const { decode_seconds: decode, prefill_seconds: prefill, evicted_tokens: evicted } = usage.longctx;
  Object.assign(figures, {
    prompt: usage.prompt_tokens, cached: usage.prompt_tokens_details.cached_tokens, reply: usage.completion_tokens, prefill, evicted,
    speed: decode > 0 && usage.completion_tokens > 1 ? (usage.completion_tokens - 1) / decode : undefined,
  });
}

function showError(message, error) {
  if (!message.text) message.body.replaceChildren();
  const box = element("div", "error", error.message);
  box.setAttribute("role", "alert");
  if (error.code) box.append(" ", element("code", "", error.code));
  message.node.append(box);
}

/** Only the newest reply can be written again: what follows an older one depends on it. */
function offerActions(message) {
  document.querySelectorAll(".actions").forEach(node => node.remove());
  const again = element("button", "", "Write again");
  again.type = "button";
  again.addEventListener("click", () => {
    if (running) return;
    transcript.remove(message);
    reply();
  });
  const row = element("div", "actions");
  row.append(again);
  message.node.append(row);
}

function send() {
  const text = $("input").value.trim();
  if (!text || running) return;
  if (needsKey) {
    askForKey();
    return;
  }
  if (stored.isKept) {
    stored.send(text);
    return;
  }
  $("empty").hidden = true;
  $("input").value = "";
  fitInput();
  document.querySelectorAll(".actions").forEach(node => node.remove());
  transcript.setSystem($("system").value.trim());
  transcript.add("user", text);
  reply();
}

/** What the server keeps goes on without us; what it does not keep ends here. */
function newChat() {
  if (stored.isKept) stored.leave();
  else running?.abort();
  clear();
  $("input").focus();
}

function clear() {
  transcript.clear();
  $("empty").hidden = false;
  showReply({});
  describeModel();
}

/** Where the server keeps conversations, the chat is one of them. */
const stored = new StoredChat(transcript, {
  clear, scrollToEnd, followEnd, keepPlace, showError,
  request: () => ({ model: $("model").value, instructions: $("system").value.trim(), temperature: Number($("temperature").value) }),
  taken: () => { $("input").value = ""; fitInput(); },
  setRunning: stop => { running = stop && { abort: stop }; updateButtons(); },
});

/** Only where there is no room beside the chat does it make a difference. */
function openPanel(open) {
  document.body.classList.toggle("panel-open", open);
  $("panel-toggle").setAttribute("aria-expanded", open);
}

function updateButtons() {
  $("send").hidden = running !== null;
  $("stop").hidden = running === null;
  $("send").disabled = $("input").value.trim() === "";
}

function fitInput() {
  $("input").style.height = "auto";
  $("input").style.height = `${$("input").scrollHeight}px`;
  updateButtons();
}

// The view follows the reply until the reader scrolls up.
const scroller = $("scroller");
let following = true;
function scrollToEnd() { following = true; scroller.scrollTop = scroller.scrollHeight; }
function followEnd() { if (following) scroller.scrollTop = scroller.scrollHeight; }
/** Changes something above without moving what the reader looks at. */
function keepPlace(change) {
  const below = scroller.scrollHeight - scroller.scrollTop;
  change();
  scroller.scrollTop = scroller.scrollHeight - below;
}

scroller.addEventListener("scroll", () => {
  following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
  $("to-end").hidden = following;
});
$("to-end").addEventListener("click", scrollToEnd);

$("composer").addEventListener("submit", event => { event.preventDefault(); send(); });
$("input").addEventListener("input", fitInput);
$("input").addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
document.addEventListener("keydown", event => { if (event.key === "Escape") running?.abort(); });
$("stop").addEventListener("click", () => running?.abort());
$("new-chat").addEventListener("click", newChat);
$("model").addEventListener("change", () => { settings.set("model", $("model").value); transcript.forgetPlaces(); describeModel(); });
$("panel-toggle").addEventListener("click", () => openPanel(!document.body.classList.contains("panel-open")));
$("list-toggle").addEventListener("click", () => {
  const open = document.body.classList.toggle("list-open");
  $("list-toggle").setAttribute("aria-expanded", open);
});

setUpSettings();
fitInput();
showWindow(emptyWindow);
load();
