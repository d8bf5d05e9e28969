"use strict";

function element(name, text, className) {
  const node = document.createElement(name);
  if (text) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function route(method, path, operation) {
  const section = element("section", "", "route");
  const head = element("h3");
  head.append(element("b", method.toUpperCase()), path);
  section.append(head);
  for (const words of new Set([operation.summary, operation.description].filter(Boolean))) section.append(element("p", words));
  const parameters = (operation.parameters || []).map((p) =>
    `${p.name} (${p.in}${p.schema && p.schema.enum ? `: ${p.schema.enum.join(", ")}` : ""})`);
  if (parameters.length) section.append(element("p", `parameters: ${parameters.join("; ")}`, "quiet"));
  if (operation.requestBody) section.append(element("p", `body: ${Object.keys(operation.requestBody.content).join(", ")}`, "quiet"));
  const list = element("dl");
  for (const [status, answer] of Object.entries(operation.responses)) {
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
    for (const [method, operation] of Object.entries(methods)) all.append(route(method, path, operation));
});
