// A small, safe Markdown: every text becomes a text node, so no input can become markup.

const fence = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const item = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;

// Deeper quotes and lists are shown flat, so that no input can exhaust the stack.
const depthMax = 8;

/** Renders text into a container; blocks whose source did not change since the last call stay as they are. */
export function render(container, text, depth = 0) {
  const sources = split(text);
  sources.forEach((source, i) => {
    const old = container.children[i];
    if (old?.source === source) return;
    const node = block(source, depth);
    node.source = source;
    old ? old.replaceWith(node) : container.append(node);
  });
  while (container.children.length > sources.length) container.lastChild.remove();
}

/** Cuts a text into blocks: fenced code, and what stands between blank lines. */
function split(text) {
  const blocks = [];
  let lines = [];
  let open = null;
  const close = () => { if (lines.length) blocks.push(lines.join("\n")); lines = []; };
  for (const line of text.split("\n")) {
    const mark = line.match(fence)?.[1];
    if (open) {
      lines.push(line);
      if (mark && mark[0] === open[0] && mark.length >= open.length && line.trim() === mark) { open = null; close(); }
    } else if (mark) { close(); open = mark; lines.push(line); }
    else if (line.trim() === "") close();
    else if (/^#{1,6}\s/.test(line)) { close(); lines.push(line); close(); }
    else {
      const inList = lines.length > 0 && item.test(lines[0]);
      if (!inList && lines.length > 0 && item.test(line)) close();
      lines.push(line);
    }
  }
  close();
  return blocks;
}

function block(source, depth) {
  const first = source.split("\n", 1)[0];
  if (fence.test(first)) return code(source);
  const heading = first.match(/^(#{1,6})\s+(.*)$/);
  if (heading) return fill(document.createElement(`h${Math.min(5, heading[1].length + 2)}`), heading[2]);
  if (/^ {0,3}([-*_])( *\1){2,} *$/.test(source)) return document.createElement("hr");
  if (depth < depthMax && /^ {0,3}>/.test(first)) {
    const quote = document.createElement("blockquote");
    render(quote, source.replace(/^ {0,3}> ?/gm, ""), depth + 1);
    return quote;
  }
  if (item.test(first)) return list(source.split("\n"), depth);
  return fill(document.createElement("p"), source);
}

function code(source) {
  const lines = source.split("\n");
  const mark = lines[0].match(fence)[1];
  if (lines.length > 1 && lines.at(-1).trim().startsWith(mark)) lines.pop();
  const box = document.createElement("div");
  box.className = "code";
  const pre = document.createElement("pre");
  const text = document.createElement("code");
  text.textContent = lines.slice(1).join("\n");
  pre.append(text);
  const copy = document.createElement("button");
  copy.type = "button";
  copy.textContent = "Copy";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text.textContent);
    copy.textContent = "Copied";
  });
  box.append(pre, copy);
  return box;
}

/** Lines of one list; deeper indents are lists inside the item above them. */
function list(lines, depth) {
  const [, indent, marker] = lines[0].match(item);
  const ordered = /\d/.test(marker);
  const root = document.createElement(ordered ? "ol" : "ul");
  if (ordered) root.start = parseInt(marker, 10);
  let i = 0;
  while (i < lines.length) {
    const entry = lines[i].match(item);
    const li = document.createElement("li");
    let text = entry ? entry[3] : lines[i].trim();
    const inner = [];
    for (i++; i < lines.length; i++) {
      const next = lines[i].match(item);
      if (next && (next[1].length <= indent.length || depth >= depthMax)) break;
      if (next || inner.length) inner.push(lines[i]);
      else text += "\n" + lines[i].trim();
    }
    fill(li, text);
    if (inner.length) li.append(list(inner, depth + 1));
    root.append(li);
  }
  return root;
}

// Code first: nothing inside it is anything else. Emphasis with _ only at word edges.
const inline = /(`+)([^`](?:.*?[^`])?)\1(?!`)|\*\*(?=\S)(.+?)\*\*|\*(?=\S)([^*\n]+?)\*|(?<!\w)_(?=\S)([^_\n]+?)_(?!\w)|\[([^\]\n]+)\]\(([^()\s]+)\)|(https?:\/\/[^\s<>"')\]]+)/gs;

function fill(node, text) {
  let end = 0;
  for (const match of text.matchAll(inline)) {
    node.append(text.slice(end, match.index));
    node.append(span(match));
    end = match.index + match[0].length;
  }
  node.append(text.slice(end));
  return node;
}

function span([whole, , literal, strong, emphasis, underscored, label, target, address]) {
  if (literal !== undefined) return Object.assign(document.createElement("code"), { textContent: literal });
  if (strong !== undefined) return fill(document.createElement("strong"), strong);
  if (emphasis ?? underscored) return fill(document.createElement("em"), emphasis ?? underscored);
  const url = target ?? address;
  // javascript: and its like stay text.
  if (!/^(https?:\/\/|mailto:)/i.test(url)) return document.createTextNode(whole);
  return Object.assign(document.createElement("a"), { href: url, textContent: label ?? address, target: "_blank", rel: "noopener noreferrer" });
}
