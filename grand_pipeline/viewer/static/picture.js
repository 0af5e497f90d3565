// One picture: its objects over it and beside it, and what is said of them.

import { api, el, light, pictureUrl, pin, score, speaks, svg, unpin } from "/parts.js";
import { sections } from "/texts.js";

const shown = { masks: true, boxes: false, labels: true };

/** Show a picture by its id. Returns what the server said of it. */
export async function showPicture(main, imageId, at) {
  const image = await api(`image/${encodeURIComponent(imageId)}`, { at });
  unpin();
  const objects = image.objects ?? [];
  const root = el("article", { class: "picture", on: { click: unpin } },
    heading(image),
    el("div", { class: "columns" },
      el("section", { class: "left" }, stage(image, objects), objects.length ? switches(objects) : null),
      el("section", { class: "right" }, sections(image, list(image, objects)))));
  main.replaceChildren(root);
  apply();
  return image;
}

/** Turn masks, boxes or labels on or off. */
export function toggle(name) {
  shown[name] = !shown[name];
  apply();
}

function apply() {
  const root = document.querySelector(".picture");
  for (const [name, on] of Object.entries(shown)) {
    root?.classList.toggle(`no-${name}`, !on);
    const box = document.getElementById(`show-${name}`);
    if (box) box.checked = on;
  }
}

function heading(image) {
  return el("div", { class: "heading" },
    el("a", { id: "back", href: "#/", title: "Back to all pictures (Esc)" }, "← Pictures"),
    el("h1", {}, image.name),
    el("span", { class: "faint" }, `${(image.number + 1).toLocaleString("en")} of ${image.total.toLocaleString("en")}`),
    image.state === "annotated" ? null : el("span", { class: `badge ${image.state}` }, image.state),
    el("nav", {},
      el("a", { id: "previous", href: "#", title: "Picture before (←)", "aria-label": "Picture before" }, "‹"),
      el("a", { id: "next", href: "#", title: "Next picture (→)", "aria-label": "Next picture" }, "›")));
}

function stage(image, objects) {
  if (!image.width || !image.height) {
    return el("div", { class: "frame empty" }, image.error ?? "This picture has no size.");
  }
  const over = svg("svg", { viewBox: `0 0 ${image.width} ${image.height}`, preserveAspectRatio: "none", "aria-hidden": true },
    farFirst(objects).map(drawn));
  const gone = () => frame.classList.add("gone");
  const frame = el("div", { class: "frame", vars: { "--wide": image.width, "--high": image.height } },
    el("img", { src: pictureUrl("large", image), alt: image.name, on: { error: gone } }),
    over,
    el("div", { class: "names" }, objects.filter((one) => one.kind !== "stuff").map((one) => name(one, image))));
  return frame;
}

/** Stuff lies below things, and what is far below what is near. */
function farFirst(objects) {
  const height = (one) => [one.kind === "stuff" ? 0 : 1, one.depth ?? Infinity];
  return [...objects].sort((a, b) => {
    const [x, y] = [height(a), height(b)];
    return x[0] - y[0] || (x[1] === y[1] ? 0 : x[1] < y[1] ? -1 : 1);
  });
}

function drawn(one) {
  const [x1, y1, x2, y2] = one.box;
  const kind = `object ${one.kind === "stuff" ? "stuff" : ""} ${one.status === "floating" ? "floating" : ""}`;
  return svg("g", { class: kind, "data-object": one.id, vars: { "--hue": one.color }, ...speaks([one.id]) },
    one.outline ? svg("path", { class: "mask", d: one.outline }) : null,
    svg("rect", { class: one.outline ? "box" : "box bare", x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) }));
}

function name(one, image) {
  const place = { "--hue": one.color, "--x": one.box[0] / image.width, "--y": one.box[1] / image.height };
  const kind = `name ${one.box[1] < 0.07 * image.height ? "inside" : ""} ${one.status}`;
  return el("span", { class: kind, "data-object": one.id, vars: place, ...speaks([one.id]) }, one.label);
}

function switches(objects) {
  const box = (key, text, hint) => el("label", { title: `${text} (${hint})` },
    el("input", { type: "checkbox", id: `show-${key}`, on: { change: () => toggle(key) } }), text);
  const all = (on) => () => objects.forEach((one) => hide(one.id, !on));
  return el("div", { class: "switches" },
    box("masks", "Masks", "m"), box("boxes", "Boxes", "b"), box("labels", "Labels", "l"),
    el("span", { class: "push" }),
    el("button", { type: "button", on: { click: all(true) } }, "All"),
    el("button", { type: "button", on: { click: all(false) } }, "None"));
}

function hide(id, hidden) {
  for (const node of document.querySelectorAll(`[data-object="${Number(id)}"]`)) {
    node.classList.toggle("hidden", hidden);
    if (node.matches("input")) node.checked = !hidden;
  }
}

function list(image, objects) {
  if (!objects.length) return null;
  return el("section", { class: "part" },
    el("h2", {}, "Objects", el("span", {}, String(objects.length))),
    el("ul", { class: "objects" }, objects.map((one) => row(image, one))));
}

function row(image, one) {
  const told = el("div", { class: "story", hidden: true });
  const attributes = one.attributes?.map((attribute) => attribute.text).join(", ");
  const facts = [one.status === "floating" ? "floating" : null, one.kind === "stuff" ? "stuff" : null, one.layer];
  const open = (event) => {
    event.stopPropagation();
    const on = pin([one.id]);
    told.hidden = !on;
    if (on && !told.childNodes.length) told.append(details(image, one));
  };
  return el("li", { "data-ids": one.id, vars: { "--hue": one.color } },
    el("input", { type: "checkbox", checked: true, "data-object": one.id, "aria-label": `Show ${one.label}`,
      on: { change: (event) => hide(one.id, !event.target.checked), click: (event) => event.stopPropagation() } }),
    el("button", { type: "button", class: "line", on: { click: open, pointerenter: () => light([one.id]), pointerleave: () => light([]), focus: () => light([one.id]), blur: () => light([]) } },
      el("span", { class: "id" }, one.id), el("b", {}, one.label),
      el("span", { class: "faint" }, attributes ?? ""),
      el("span", { class: "push faint" }, facts.filter(Boolean).join(" · ")),
      el("span", { class: "score" }, score(one.score))),
    told);
}

function details(image, one) {
  const fact = (title, text) => (text ? [el("dt", {}, title), el("dd", {}, text)] : []);
  const votes = (one.votes ?? []).map((vote) => `${vote.source}: ${vote.label} ${score(vote.score)}`.trim());
  const mask = one.mask_source ? `${one.mask_source} ${score(one.mask_score)}` : "none";
  const why = el("button", { type: "button", class: "why" }, "Where does it come from?");
  const facts = el("dl", {},
    fact("votes", votes.join("\n")), fact("mask", one.mask_fault ?? mask), fact("depth", score(one.depth)),
    fact("group", one.group === null ? "" : String(one.group)),
    fact("box", one.box.map((side) => Math.round(side)).join(" ")));
  why.addEventListener("click", async (event) => {
    event.stopPropagation();
    try {
      const told = await api(`image/${encodeURIComponent(image.image_id)}/object/${one.id}`);
      why.parentNode.replaceChildren(story(told));
    } catch (error) {
      why.replaceWith(el("p", { class: "faint" }, error.message));
    }
  });
  return el("div", { on: { click: (event) => event.stopPropagation() } }, facts, why);
}

function story(told) {
  const parts = Object.entries(told).filter(([, part]) => Array.isArray(part?.text) && part.text.length);
  return el("dl", {}, parts.flatMap(([title, part]) => [
    el("dt", {}, title.replaceAll("_", " ")),
    el("dd", {}, part.text.join("\n"), part.stage ? el("span", { class: "by" }, `by ${part.stage}`) : null)]));
}
