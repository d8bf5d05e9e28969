"use strict";

const at = (id) => document.getElementById(id);
const alarming = new Set(["tampered", "fake"]);
let shown = null; // {picture, overlay, boxes}: the content of the canvas
let newest = 0; // number of the newest request; answers to older ones are dropped

async function describe() {
  const model = await (await fetch("/v1/model")).json();
  at("title").textContent = model.title;
  document.title = `${model.title} – modelparity`;
  at("served").textContent =
    `${model.format} ${model.quantization}, input ${model.input_size.join(" × ")}, sha256 ${model.sha256.slice(0, 12)}`;
  at("untrained").hidden = model.trained;
  const { body_bytes, pixels } = model.limits;
  at("bounds").textContent =
    `JPEG, PNG or WebP, at most ${Math.floor(body_bytes / 1048576)} MiB and ${Math.floor(pixels / 1e6)} megapixels`;
  const answer = await fetch("/v2/health/ready");
  const state = await answer.json();
  at("state").textContent = answer.ok ? "ready" : "not ready";
  at("state").title = state.golden;
  at("state").className = `state ${answer.ok ? "ready" : "not"}`;
}

function fail(words) {
  at("error").textContent = words;
  at("error").hidden = false;
  at("answer").hidden = true;
  at("drop").classList.remove("small");
}

async function detect(file) {
  const turn = ++newest;
  at("error").hidden = true;
  at("answer").hidden = false;
  at("drop").classList.add("small");
  at("busy").hidden = false;
  try {
    const answer = await fetch("/v1/detect?mask=png", { method: "POST", body: file, headers: headers() });
    const body = await answer.json();
    if (turn !== newest) return;
    if (!answer.ok) return fail(body.error);
    const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
    const overlay = body.mask ? await heat(body.mask) : null;
    if (turn !== newest) return;
    shown = { picture, overlay, boxes: body.objects || [] };
    showFacts(body);
    draw();
  } catch (error) {
    if (turn === newest) fail("The server did not answer. Is it running?");
  } finally {
    if (turn === newest) at("busy").hidden = true;
  }
}

function headers() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  const base = { "Content-Type": "application/octet-stream" };
  return key ? { ...base, Authorization: `Bearer ${key}` } : base;
}

// Probability to colour: transparent at 0, then amber, red at 1.
async function heat(mask) {
  const bytes = Uint8Array.from(atob(mask.data), (c) => c.charCodeAt(0));
  const grey = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = new OffscreenCanvas(mask.width, mask.height);
  const context = canvas.getContext("2d");
  context.drawImage(grey, 0, 0);
  const data = context.getImageData(0, 0, mask.width, mask.height);
  for (let i = 0; i < data.data.length; i += 4) {
    const p = data.data[i] / 255;
    data.data[i] = 255 - 35 * p;
    data.data[i + 1] = 210 * (1 - p);
    data.data[i + 2] = 40 * p;
    data.data[i + 3] = 255 * Math.min(1, 1.2 * p);
  }
  context.putImageData(data, 0, 0);
  return canvas;
}

function draw() {
  if (!shown) return;
  const { picture, overlay, boxes } = shown;
  const canvas = at("canvas");
  // A canvas of the size of the photograph is larger than any screen, and makes the slider slow.
  const scale = Math.min(1, 1600 / Math.max(picture.width, picture.height));
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const opacity = at("opacity").value / 100;
  context.globalAlpha = opacity;
  if (overlay) context.drawImage(overlay, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = boxes.length ? Math.max(0.1, opacity) : 1;
  context.lineWidth = Math.max(2, canvas.width / 300);
  context.font = `${Math.max(12, canvas.width / 45)}px sans-serif`;
  for (const { box, label, score } of boxes) {
    const [x1, y1, x2, y2] = box.map((edge) => edge * scale);
    context.strokeStyle = context.fillStyle = "#e0204a";
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.fillText(`${label} ${score.toFixed(2)}`, x1 + 4, Math.max(16, y1 - 6));
  }
  context.globalAlpha = 1;
}

function rows(list, entries) {
  list.replaceChildren();
  for (const [name, value] of entries) {
    const term = document.createElement("dt");
    const detail = document.createElement("dd");
    term.textContent = name;
    detail.textContent = value;
    list.append(term, detail);
  }
}

function showFacts(body) {
  at("label").textContent = body.label;
  at("label").className = `label ${alarming.has(body.label) ? "alarm" : "calm"}`;
  at("bar").style.width = `${100 * (body.score || 0)}%`;
  at("bar").parentElement.style.color = getComputedStyle(at("label")).color;
  const facts = [["score", body.score == null ? "none" : body.score.toFixed(4)]];
  if (body.tampered_share != null) facts.push(["tampered area", `${(100 * body.tampered_share).toFixed(1)} %`]);
  if (body.objects) facts.push(["objects", body.objects.length]);
  if (body.hex) facts.push(["message", `0x${body.hex}`]);
  facts.push(["image", `${body.image.width} × ${body.image.height}`], ["format", body.image.format]);
  rows(at("facts"), facts);
  rows(at("timings"), Object.entries(body.timings_ms).map(([name, ms]) => [name, `${ms.toFixed(1)} ms`]));
  at("legend").hidden = !body.mask;
}

const drop = at("drop");
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) detect(event.dataTransfer.files[0]);
});
drop.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") at("file").click(); });
at("file").addEventListener("change", () => { if (at("file").files.length) detect(at("file").files[0]); });
at("another").addEventListener("click", () => { at("file").value = ""; at("file").click(); });
at("opacity").addEventListener("input", draw);
describe().catch(() => { at("state").textContent = "no answer"; at("state").className = "state not"; });
