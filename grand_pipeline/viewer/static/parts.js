// Elements, requests, and the one thing that pictures and texts share: which objects are lit up.
// Whatever comes from a run is put in as text and never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; texts become text nodes. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") {
      for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    } else if (key === "vars") {
      for (const [property, text] of Object.entries(value)) node.style.setProperty(property, text);
    } else {
      node.setAttribute(key, value === true ? "" : value);
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** The answer of the server; what is wrong is thrown in its words. */
export async function api(path, values = {}) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null);
  const query = new URLSearchParams(given).toString();
  const answer = await fetch(`/api/${path}${query ? `?${query}` : ""}`);
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || answer.statusText);
  return found;
}

/** Where a picture is; its number spares the server a search. */
export function pictureUrl(size, image) {
  return `/${size}/${encodeURIComponent(image.image_id)}.jpg?at=${image.number}`;
}

export function score(value) {
  return value === null || value === undefined ? "" : value.toFixed(2);
}

export const count = (number, word) =>
  `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

let pinned = [];

/** Light up everything that speaks of these objects of the picture shown. */
export function light(ids) {
  const wanted = new Set((ids.length ? ids : pinned).map(String));
  const root = document.querySelector(".picture");
  if (!root) return;
  root.classList.toggle("focusing", wanted.size > 0);
  for (const node of root.querySelectorAll("[data-ids]")) {
    const own = node.getAttribute("data-ids").split(" ");
    node.classList.toggle("lit", own.some((id) => wanted.has(id)));
  }
}

/** Keep objects lit when the pointer leaves; asked for again, let them go. */
export function pin(ids) {
  pinned = ids.join() === pinned.join() ? [] : ids;
  light([]);
  return pinned.length > 0;
}

export function unpin() {
  pinned = [];
  light([]);
}

/** Attributes of something that speaks of objects and lights them up. */
export function speaks(ids) {
  if (!ids.length) return {};
  return {
    "data-ids": ids.join(" "),
    on: {
      pointerenter: () => light(ids),
      pointerleave: () => light([]),
      click: (event) => {
        event.stopPropagation();
        pin(ids);
      },
    },
  };
}
