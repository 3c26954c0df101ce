"use strict";

const main = document.querySelector("main");
const rows = document.querySelector("tbody");
const said = document.querySelector("output");
const form = document.querySelector("form");

function cell(text, kind) {
  const td = document.createElement("td");
  td.textContent = text;
  if (kind) td.className = kind;
  return td;
}

function row(order) {
  const tr = document.createElement("tr");
  tr.dataset.number = order.number;
  tr.dataset.state = order.state;
  tr.append(cell(order.number), cell(order.customer), cell(order.state, order.state), cell(order.result));
  return tr;
}

async function refresh() {
  try {
    const answer = await fetch(main.dataset.recent);
    rows.replaceChildren(...(await answer.json()).orders.map(row));
  } catch {
    said.textContent = "The server does not answer; trying again.";
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch(main.dataset.new, { method: "POST", body: new FormData(form) });
  said.textContent = answer.ok
    ? `Order ${(await answer.json()).number} is queued.`
    : "That did not work: see the server's log.";
  await refresh();
});

refresh();
setInterval(refresh, 1000);
