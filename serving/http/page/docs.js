"use strict";

function element(name, text, className) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function route(method, path, said) {
  const section = element("section", "", "route");
  const head = element("h3");
  head.append(element("b", method.toUpperCase()), path);
  section.append(head);
  for (const words of new Set([said.summary, said.description].filter(Boolean))) section.append(element("p", words));
  const taken = (said.parameters || []).map((p) =>
    `${p.name} (${p.in}${p.schema && p.schema.enum ? `: ${p.schema.enum.join(", ")}` : ""})`);
  if (taken.length) section.append(element("p", `parameters: ${taken.join("; ")}`, "quiet"));
  if (said.requestBody) section.append(element("p", `body: ${Object.keys(said.requestBody.content).join(", ")}`, "quiet"));
  const list = element("dl");
  for (const [status, answer] of Object.entries(said.responses)) {
    const words = element("dd", answer.description);
    words.style.textAlign = "left";
    list.append(element("dt", status), words);
  }
  section.append(list);
  return section;
}

fetch("/openapi.json").then((answer) => answer.json()).then((api) => {
  document.getElementById("title").textContent = `${api.info.title}, API`;
  document.getElementById("example").textContent =
    `curl --data-binary @photograph.jpg -H 'Content-Type: image/jpeg' '${location.origin}/v1/detect?mask=rle'`;
  const all = document.getElementById("routes");
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, said] of Object.entries(methods)) all.append(route(method, path, said));
});
