// Addresses, filters, keys. "#/?label=dog&from=48" is a page of the grid, "#/image/ID" a picture.

import { api, count, el } from "/parts.js";
import { beside, moveFocus, showGrid, trail } from "/grid.js";
import { showPicture, toggle } from "/picture.js";

const main = document.getElementById("main");
const inputs = ["text", "label", "source", "state"].map((id) => document.getElementById(id));
let turn = 0;
let current = null;

const home = (filters) => `#/?${new URLSearchParams(Object.entries(filters).filter(([, value]) => value))}`;

/** Show what the address says. A newer address wins over one that is still loading. */
async function show() {
  const mine = ++turn;
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const values = new URLSearchParams(query);
  const picture = path.match(/^\/image\/(.+)$/);
  try {
    if (picture) {
      const image = await showPicture(main, decodeURIComponent(picture[1]), values.get("at"));
      if (mine !== turn) return;
      await link(image);
    } else {
      current = null;
      const filters = Object.fromEntries(inputs.map((input) => [input.id, values.get(input.id) ?? ""]));
      for (const input of inputs) choose(input, filters[input.id]);
      document.title = `${document.getElementById("run").textContent} - grand view`;
      await showGrid(main, filters, Number(values.get("from") ?? 0), () => mine === turn);
    }
    if (mine === turn) window.scrollTo(0, 0);
  } catch (error) {
    if (mine === turn) main.replaceChildren(el("p", { class: "note alarm" }, error.message));
  }
}

/** Put a value into a filter; a list that does not have it yet gets it. */
function choose(input, value) {
  if (input.matches("select") && ![...input.options].some((option) => option.value === value)) {
    input.append(el("option", { value }, value));
  }
  input.value = value;
}

/** Where a picture's arrows lead: through what was found last, else through the run. */
async function link(image) {
  current = image;
  document.title = `${image.name} - grand view`;
  document.getElementById("back").href = home(trail.filters);
  for (const [id, step] of [["previous", -1], ["next", 1]]) {
    const found = await beside(image.image_id, step);
    if (current !== image) return;
    const inside = trail.items.some((item) => item.image_id === image.image_id);
    const other = inside ? found?.image_id : image[id];
    const arrow = document.getElementById(id);
    if (other) arrow.href = `#/image/${encodeURIComponent(other)}?at=${found?.number ?? image.number + step}`;
    else arrow.removeAttribute("href");
  }
}

function filtered() {
  location.hash = home(Object.fromEntries(inputs.map((input) => [input.id, input.value.trim()])));
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input[type=search], select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = (current ? onPicture : onGrid)(event.key);
  if (act) {
    event.preventDefault();
    act();
  }
}

function onPicture(key) {
  const follow = (id) => () => document.getElementById(id)?.click();
  return {
    ArrowLeft: follow("previous"), ArrowRight: follow("next"), Escape: follow("back"), ...onBoth,
    m: () => toggle("masks"), b: () => toggle("boxes"), l: () => toggle("labels"),
  }[key];
}

function onGrid(key) {
  if (key.startsWith("Arrow")) return () => moveFocus(key);
  return onBoth[key];
}

const onBoth = { d: changeTheme, "/": () => document.getElementById("text").focus() };

function changeTheme() {
  setTheme(getComputedStyle(document.documentElement).colorScheme === "dark" ? "light" : "dark");
}

function setTheme(theme) {
  if (theme) document.documentElement.setAttribute("data-theme", theme);
  try {
    if (theme) localStorage.setItem("theme", theme);
  } catch {
    // A browser that keeps nothing keeps no theme either.
  }
}

async function introduce() {
  const [run, labels] = await Promise.all([api("run"), api("labels")]);
  document.getElementById("run").textContent = run.name;
  document.getElementById("count").textContent = count(run.images, "picture");
  document.getElementById("labels").append(
    ...labels.labels.map(([label, n]) => el("option", { value: label }, String(n))));
  const source = document.getElementById("source");
  for (const [name] of labels.sources) {
    if (![...source.options].some((option) => option.value === name)) source.append(el("option", { value: name }, name));
  }
}

try {
  setTheme(localStorage.getItem("theme"));
} catch {
  setTheme(null);
}
document.getElementById("theme").addEventListener("click", changeTheme);
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
for (const input of inputs) input.addEventListener("change", filtered);
window.addEventListener("hashchange", show);
window.addEventListener("keydown", pressed);
introduce().catch((error) => main.append(el("p", { class: "note alarm" }, error.message)));
show();
