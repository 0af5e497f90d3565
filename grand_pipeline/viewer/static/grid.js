// The grid of pictures, page by page.

import { api, count, el, pictureUrl } from "/parts.js";

const PER_PAGE = 48;

/** What was found last, for walking through it picture by picture. */
export const trail = { filters: {}, items: [], after: null };

const starts = [];

/** Show the page that begins at `from` of the pictures that pass the filters. */
export async function showGrid(main, filters, from, stillWanted) {
  const grid = el("section", { class: "grid", "aria-label": "Pictures" });
  const note = el("p", { class: "note", "aria-live": "polite" }, "Looking ...");
  const turn = el("nav", { class: "turn" });
  main.replaceChildren(note, grid, turn);
  const found = await gather(filters, from, PER_PAGE, (items, looked, total) => {
    if (!stillWanted()) return false;
    grid.append(...items.map(card));
    note.textContent = `Looked at ${looked.toLocaleString("en")} of ${count(total, "picture")} ...`;
    return true;
  });
  if (!found) return;
  Object.assign(trail, { filters, items: found.items, after: found.after });
  note.textContent = summary(found, filters, from);
  turn.replaceChildren(...turns(filters, from, found.after));
}

/** Ask page after page until there are `wanted` pictures or no more; null if given up. */
async function gather(filters, from, wanted, report) {
  const items = [];
  let after = from;
  let total = 0;
  while (after !== null && items.length < wanted) {
    const page = await api("images", { ...filters, from: after, limit: wanted - items.length });
    items.push(...page.items);
    ({ after, total } = page);
    if (!report(page.items, after ?? total, total)) return null;
  }
  return { items, after, total };
}

function summary(found, filters, from) {
  const filtered = Object.values(filters).some(Boolean);
  if (!found.items.length) return filtered ? "No picture fits." : "The run has no pictures yet.";
  if (filtered) return `${count(found.items.length, "picture")}${found.after === null ? "" : " so far"}`;
  const last = from + found.items.length;
  return `Pictures ${(from + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${found.total.toLocaleString("en")}`;
}

function card(item) {
  const labels = item.labels.slice(0, 4).map(([label, n]) =>
    el("span", { class: "chip" }, n > 1 ? `${label} × ${n}` : label));
  const more = item.labels.length > 4 ? [el("span", { class: "faint" }, "...")] : [];
  const state = item.state === "annotated" ? null : badge(item);
  return el("a", { class: "card", href: `#/image/${encodeURIComponent(item.image_id)}?at=${item.number}` },
    el("span", { class: "thumb" }, item.state === "unreadable" ? null : thumbnail(item), state),
    el("span", { class: "about" },
      el("span", { class: "told" }, item.text || el("i", { class: "faint" }, item.name)),
      el("span", { class: "chips" }, labels, more)));
}

function thumbnail(item) {
  return el("img", {
    src: pictureUrl("small", item), alt: item.text || item.name, loading: "lazy", decoding: "async",
    on: { error: (event) => event.target.replaceWith(el("span", { class: "blank" }, "no picture")) },
  });
}

function badge(item) {
  const words = { failed: `failed: ${item.failed.join(", ")}`, pending: "pending", unreadable: "unreadable" };
  return el("span", { class: `badge ${item.state}` }, words[item.state]);
}

function turns(filters, from, after) {
  const address = (start) => `#/?${new URLSearchParams(
    Object.entries({ ...filters, from: start || "" }).filter(([, value]) => value !== ""))}`;
  if (!from) starts.length = 0;
  const filtered = Object.values(filters).some(Boolean);
  const before = filtered ? (starts.at(-1) ?? 0) : Math.max(0, from - PER_PAGE);
  const back = from ? el("a", { id: "earlier", href: address(before), rel: "prev", on: { click: () => starts.pop() } }, "← Earlier") : null;
  const on = after !== null ? el("a", { id: "later", href: address(after), rel: "next", on: { click: () => starts.push(from) } }, "More →") : null;
  return [back, on].filter(Boolean);
}

/** The picture before (-1) or after (+1) this one in what was found last; undefined if not in it. */
export async function beside(imageId, step) {
  const at = trail.items.findIndex((item) => item.image_id === imageId);
  if (at < 0) return undefined;
  if (at + step === trail.items.length && trail.after !== null) {
    const found = await gather(trail.filters, trail.after, PER_PAGE, () => true);
    trail.items.push(...found.items);
    trail.after = found.after;
  }
  return trail.items[at + step];
}

/** Move the focus among the cards by arrow keys. */
export function moveFocus(key) {
  const cards = [...document.querySelectorAll(".card")];
  const at = cards.indexOf(document.activeElement);
  if (!cards.length) return;
  const top = cards[0].offsetTop;
  const columns = Math.max(1, cards.findIndex((one) => one.offsetTop > top));
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
  const next = at < 0 ? 0 : at + step;
  if (next >= cards.length) document.getElementById("later")?.focus();
  else cards[Math.max(0, next)].focus();
}
