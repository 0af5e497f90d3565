// What is said of a picture: texts whose pieces light up objects, relations, tags, failures.

import { el, score, speaks } from "/parts.js";

/** All that there is, section by section, `objects` after the texts that speak of them. */
export function sections(image, objects) {
  const colors = new Map((image.objects ?? []).map((one) => [one.id, one]));
  return [
    failures(image),
    image.state === "pending" ? el("p", { class: "note" }, "Not annotated yet.") : null,
    image.dense_caption ? section("Dense caption", denseNote(image.dense_caption), prose(image.dense_caption.pieces, colors)) : null,
    ...(image.captions ?? []).map((one) => section("Caption", one.source, prose(one.pieces, colors))),
    objects,
    phrases(image.phrases ?? [], colors),
    relations(image.relations ?? [], colors),
    scene(image),
    image.context ? section("Context", image.context.source, el("p", { class: "prose small" }, image.context.text)) : null,
    image.scene_graph ? section("Scene graph", "", el("pre", {}, image.scene_graph)) : null,
    file(image),
  ];
}

function section(title, note, ...body) {
  return el("section", { class: "part" }, el("h2", {}, title, note ? el("span", {}, note) : null), ...body);
}

function denseNote(dense) {
  return [dense.source, dense.verified ? "verified" : "not verified",
    dense.finish_reason === "stop" ? null : dense.finish_reason].filter(Boolean).join(" · ");
}

/** A text with its spans in the colours of their objects; several share the underline. */
function prose(pieces, colors) {
  return el("p", { class: "prose" }, pieces.map((piece) => {
    const known = piece.ids.filter((id) => colors.has(id));
    if (!known.length) return piece.text;
    return el("mark", { tabindex: 0, ...marked(known, colors) }, piece.text);
  }));
}

function marked(ids, colors) {
  const hues = ids.map((id) => colors.get(id).color);
  const step = 100 / hues.length;
  const stripes = hues.map((hue, n) => `${hue} ${n * step}% ${(n + 1) * step}%`).join(", ");
  return { vars: { "--hue": hues[0], "--stripes": `linear-gradient(90deg, ${stripes})` }, ...speaks(ids) };
}

function chip(id, colors) {
  const one = colors.get(id);
  if (!one) return el("span", { class: "chip" }, `object ${id}`);
  return el("span", { class: "chip own", vars: { "--hue": one.color }, ...speaks([id]) }, el("span", {}, one.label), ` ${id}`);
}

function phrases(found, colors) {
  if (!found.length) return null;
  return section("Phrases", "", el("ul", { class: "pairs" }, found.map((one) =>
    el("li", {}, el("span", {}, `“${one.text}”`),
      el("span", { class: "chips" }, one.object_ids.length ? one.object_ids.map((id) => chip(id, colors)) : el("span", { class: "faint" }, "no object")),
      el("span", { class: "faint push" }, one.source)))));
}

function relations(found, colors) {
  if (!found.length) return null;
  const parts = el("ul", { class: "pairs" }, found.map((one) =>
    el("li", {}, chip(one.subject, colors), el("span", { class: "says" }, one.predicate), chip(one.object, colors))));
  if (found.length <= 8) return section("Relations", String(found.length), parts);
  return el("details", { class: "part" }, el("summary", {}, el("h2", {}, "Relations", el("span", {}, String(found.length)))), parts);
}

function scene(image) {
  const tags = image.tags ?? [];
  if (!tags.length && !image.landmark) return null;
  const place = image.landmark;
  return section("Scene", "",
    place ? el("p", {}, [place.category, place.fine_category].filter(Boolean).join(": "), el("span", { class: "by" }, place.source)) : null,
    el("p", { class: "chips" }, tags.map((tag) =>
      el("span", { class: "chip", title: tag.source }, tag.name, el("i", {}, score(tag.score))))));
}

function failures(image) {
  const all = image.error ? [{ stage: "ingest", message: image.error }] : image.errors;
  if (!all.length) return null;
  return section("Failures", "", el("dl", { class: "failures" }, all.flatMap((one) => [el("dt", {}, one.stage), el("dd", {}, one.message)])));
}

function file(image) {
  const size = image.width ? `${image.width} × ${image.height} ${image.format ?? ""}` : "";
  const facts = [["id", image.image_id], ["file", image.uri], ["size", size], ...image.duplicates.map((uri) => ["copy", uri])];
  return section("File", "", el("dl", {}, facts.filter(([, text]) => text).flatMap(([title, text]) => [el("dt", {}, title), el("dd", {}, text)])));
}
