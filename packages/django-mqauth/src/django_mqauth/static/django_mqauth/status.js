// The status page: asks for two JSON documents again and again and lets time run in between.
// Text from the server goes into text nodes only, styles through the CSSOM: no policy forbids it.

const page = document.getElementById("mqauth");
const live = document.getElementById("mq-live");
const liveText = document.getElementById("mq-live-text");
const said = document.getElementById("mq-said");

const WORDS = {
  ok: ["renewing", "good"],
  failing: ["renewal fails", "warn"],
  expired: ["expired", "bad"],
  silent: ["silent", "bad"],
  idle: ["consumes nothing", "bad"],
  unreadable: ["unreadable", "bad"],
  static: ["without mqauth", "quiet"],
};
const clocks = new Map(); // Bars that run down between two answers.
const query = { page: 1, search: "", state: "" };
let refresh = 2000;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function duration(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} days`;
}

function tone(left, life) {
  if (left <= 0) return "bad";
  if (!life) return "good";
  return left < life / 4 ? "bad" : left < life / 2 ? "warn" : "good";
}

function bar(label) {
  return make("div", { class: "mq-bar", role: "meter", "aria-label": label, "aria-valuemin": 0 }, make("i"));
}

function start(key, source, element, text) {
  clocks.set(key, {
    left: source.remaining,
    life: source.lifetime,
    since: performance.now(),
    element,
    text,
  });
}

function tick() {
  for (const clock of clocks.values()) {
    if (clock.left === null) {
      clock.text.textContent = "never expires";
      clock.element.hidden = true;
      continue;
    }
    const left = Math.max(0, clock.left - (performance.now() - clock.since) / 1000);
    const part = clock.life ? Math.min(1, left / clock.life) : left > 0 ? 1 : 0;
    clock.element.hidden = false;
    clock.element.firstChild.style.width = `${(part * 100).toFixed(1)}%`;
    clock.element.dataset.tone = tone(left, clock.life);
    clock.element.setAttribute("aria-valuemax", Math.round(clock.life || left || 1));
    clock.element.setAttribute("aria-valuenow", Math.round(left));
    clock.element.setAttribute("aria-valuetext", `${duration(left)} left`);
    clock.text.textContent = left > 0 ? duration(left) : "expired";
  }
}

function strip(events, life) {
  const span = Math.max(60, Math.min(3600, (life || 60) * 5)) * 1000;
  const now = Date.now();
  const items = events
    .map((event) => ({ ...event, when: Date.parse(event.at) }))
    .filter((event) => now - event.when < span && event.kind !== "fetched");
  const list = make("ol", { class: "mq-strip" });
  for (const event of items) {
    const word = event.kind === "renewed" ? "renewed" : event.kind === "failed" ? "renewal failed" : "about to expire";
    const clock = new Date(event.when).toLocaleTimeString();
    const item = make(
      "li",
      { "data-kind": event.kind, title: `${clock}: ${word}${event.error ? `: ${event.error}` : ""}` },
      make("span", { class: "mq-hidden" }, `${clock}: ${word}`),
    );
    item.style.left = `${(100 * (1 - (now - event.when) / span)).toFixed(2)}%`;
    list.append(item);
  }
  return { list, span: span / 1000, count: items.length };
}

function facts(pairs) {
  return make(
    "dl",
    { class: "mq-facts" },
    ...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))),
  );
}

function badge(word, kind) {
  return make("span", { class: "mq-badge", "data-tone": kind }, word);
}

function stateOf(source) {
  if (source.remaining !== null && source.remaining <= 0) return ["expired", "bad"];
  if (source.failures_in_a_row) return ["renewal fails", "warn"];
  if (source.expires_at === null && source.issued_at === null) return ["no credential", "bad"];
  return source.expires_at === null ? ["never expires", "quiet"] : ["renewing", "good"];
}

function splitError(text) {
  // An error of ours is one line: what failed and why, and in parentheses what to do.
  const found = /^(.*) \((.*)\)$/s.exec(text);
  return found ? [found[1], found[2]] : [text, null];
}

function problem(text, remedy) {
  return make("p", { class: "mq-problem" }, make("strong", {}, text), remedy ? `What to do: ${remedy}` : "");
}

function card(entry, index, open) {
  const name = entry.alias ?? "not in MQAUTH";
  const source = entry.source;
  const box = make("article", { class: "mq-card", "aria-label": `Credential ${name}` });
  const kind = source ? stateOf(source) : entry.problem ? ["cannot work", "bad"] : ["not used yet", "quiet"];
  box.append(
    make(
      "header",
      {},
      make(
        "div",
        {},
        make("h3", {}, name),
        make("p", { class: "mq-who" }, source ? source.identity : "no credential in this process"),
        entry.brokers.length ? make("p", { class: "mq-who" }, `at ${entry.brokers.join("; ")}`) : null,
      ),
      badge(...kind),
    ),
  );
  if (entry.problem) box.append(problem(entry.problem, entry.remedy));
  if (!source) return box;
  const number = make("b", {});
  const meter = bar(`Time left of ${name}`);
  const life = source.lifetime ? `left of ${duration(source.lifetime)}` : "";
  box.append(make("p", { class: "mq-left" }, number, make("span", {}, life)), meter);
  start(`process-${index}`, source, meter, number);
  if (source.last_error) box.append(problem(...splitError(source.last_error)));
  const line = strip(source.events, source.lifetime);
  box.append(
    make("p", { class: "mq-strip-title" }, `Last rotations: ${line.count} in ${duration(line.span)}`),
    line.list,
    make("p", { class: "mq-ends", "aria-hidden": "true" }, make("span", {}, `${duration(line.span)} ago`), make("span", {}, "now")),
    facts([
      ["Rotations", source.rotations],
      ["Fetched", source.fetches],
      ["From this host", source.shared],
      ["Connections", source.connections],
      ["Failures", source.failures],
    ]),
  );
  box.append(permissions(entry.permissions, source, open));
  return box;
}

function permissions(found, source, open) {
  const list = found.length
    ? make("ul", { class: "mq-scopes" }, ...found.map((each) => make("li", {}, each.means, make("code", {}, each.scope))))
    : make("p", {}, "The credential itself carries no scopes: the broker's own permissions decide.");
  const whose = source.principal ? ` of ${source.principal}` : "";
  return make("details", { open: open ? "" : null }, make("summary", {}, `Permissions${whose} (${found.length})`), list);
}

let seenRotations = new Map();

function announce(entries) {
  const news = [];
  for (const entry of entries) {
    if (!entry.source) continue;
    const key = entry.alias ?? entry.source.identity;
    const before = seenRotations.get(key);
    const now = [entry.source.rotations, entry.source.failures];
    if (before && now[0] > before[0]) news.push(`${key}: renewed`);
    if (before && now[1] > before[1]) news.push(`${key}: renewal failed`);
    seenRotations.set(key, now);
  }
  if (news.length) said.textContent = news.join(". ");
}

function showProcess(data) {
  refresh = data.refresh * 1000;
  const box = document.getElementById("mq-identities");
  const open = [...box.children].map((child) => child.querySelector("details")?.open);
  const focused = [...box.children].findIndex((child) => child.contains(document.activeElement));
  for (const key of [...clocks.keys()]) if (key.startsWith("process-")) clocks.delete(key);
  box.replaceChildren(...data.identities.map((entry, index) => card(entry, index, open[index])));
  if (focused >= 0) box.children[focused]?.querySelector("summary")?.focus();
  if (!data.identities.length) box.append(make("p", { class: "mq-note" }, "MQAUTH has no aliases."));
  document.getElementById("mq-process-sub").textContent =
    `The web process ${data.process.pid} on ${data.process.host}, which made this page.`;
  showHost(data);
  announce(data.identities);
  tick();
}

function showHost(data) {
  const lines = data.identities
    .filter((entry) => entry.host)
    .map((entry) => {
      const name = make("strong", {}, `${entry.alias ?? entry.source.identity}: `);
      const host = entry.host;
      if (!host.shares) return make("li", {}, name, "each process fetches for itself (the cache is off, or the provider reads locally)");
      if (host.remaining === null) return make("li", {}, name, "nothing is shared at the moment");
      const whose = host.same ? "the one this process uses" : "another than this process uses";
      return make("li", {}, name, `one credential is shared by all processes, ${whose}, ${duration(host.remaining)} left`);
    });
  document.getElementById("mq-host").replaceChildren(...lines);
  document.getElementById("mq-host-sub").textContent = lines.length
    ? `${data.process.host}: one process fetches, the others take it from a private file.`
    : `${data.process.host}: no process has signed in here yet.`;
}

function tile(name, value, kind, note) {
  return make("div", { "data-tone": kind }, make("dt", {}, name), make("dd", {}, String(value), note ? make("small", {}, note) : ""));
}

function showSummary(summary) {
  const soonest = summary.soonest;
  document.getElementById("mq-summary").replaceChildren(
    tile("Workers", summary.total),
    tile("Renewing", summary.states.ok ?? 0, "good"),
    tile("In trouble", summary.trouble, summary.trouble ? "bad" : null),
    tile("Rotations", summary.rotations),
    tile("Failures", summary.failures),
    tile("Soonest expiry", soonest ? duration(soonest.remaining) : "–", null, soonest ? soonest.worker : null),
  );
}

function workerRow(worker, index) {
  const [word, kind] = WORDS[worker.state] ?? [worker.state, "quiet"];
  const source = worker.sources[0];
  const row = make("tr", { "data-worker": worker.name, "data-state": worker.state });
  const why = worker.problem
    ? make("p", { class: "mq-why" }, `${worker.problem}. ${worker.remedy ? `What to do: ${worker.remedy}` : ""}`)
    : null;
  row.append(make("th", { scope: "row" }, worker.name, why), make("td", {}, badge(word, kind)));
  if (!source) {
    row.append(make("td", { colspan: 4 }, ""));
    return row;
  }
  const meter = bar(`Time left of ${worker.name}`);
  const number = make("span", { class: "mq-number" });
  start(`worker-${index}`, source, meter, number);
  const queues = worker.queues === null ? "unknown" : worker.queues.join(", ") || "none";
  row.append(
    make("td", {}, make("div", { class: "mq-time" }, meter, number)),
    make("td", { class: "mq-strip-cell" }, strip(source.events.slice(-8), source.lifetime).list),
    make("td", { "data-label": "Rotations" }, `${source.rotations}${source.failures ? `, ${source.failures} failure${source.failures === 1 ? "" : "s"}` : ""}`),
    make("td", { "data-label": "Queues" }, queues),
  );
  return row;
}

let troubleBefore = null;

function showWorkers(data) {
  for (const key of [...clocks.keys()]) if (key.startsWith("worker-")) clocks.delete(key);
  const rows = data.workers.map(workerRow);
  const nobody = data.summary.total ? "No worker matches." : "No worker answers (is one running, with remote control on?)";
  document
    .querySelector("#mq-workers tbody")
    .replaceChildren(...(rows.length ? rows : [make("tr", {}, make("td", { colspan: 6 }, nobody))]));
  showSummary(data.summary);
  const box = document.getElementById("mq-workers-problem");
  box.hidden = !data.problem;
  if (data.problem) {
    const [what, remedy] = splitError(data.problem);
    box.replaceChildren(...problem(what, remedy).childNodes);
  }
  query.page = data.page;
  document.getElementById("mq-page").textContent = `Page ${data.page} of ${data.pages} (${data.found} workers)`;
  document.getElementById("mq-previous").disabled = data.page <= 1;
  document.getElementById("mq-next").disabled = data.page >= data.pages;
  if (troubleBefore !== null && data.summary.trouble !== troubleBefore) {
    said.textContent = `${data.summary.trouble} workers in trouble`;
  }
  troubleBefore = data.summary.trouble;
  tick();
}

async function ask(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" }, redirect: "manual" });
  if (answer.type === "opaqueredirect" || answer.status === 403) throw new Error("signed out: load the page again");
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return answer.json();
}

function connected(error) {
  live.dataset.state = error ? "lost" : "live";
  liveText.textContent = error
    ? `Not up to date: ${error instanceof TypeError ? "the server does not answer" : error.message}. Trying again.`
    : `Live, as of ${new Date().toLocaleTimeString()}`;
}

async function follow(url, show) {
  for (;;) {
    if (!document.hidden) {
      try {
        show(await ask(url()));
        connected();
      } catch (error) {
        connected(error);
      }
    }
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, refresh);
      if (show === showWorkers) wake = () => (clearTimeout(timer), resolve());
    });
  }
}

let wake = () => {};

function turn(to) {
  query.page = to;
  wake();
}

document.getElementById("mq-previous").addEventListener("click", () => turn(query.page - 1));
document.getElementById("mq-next").addEventListener("click", () => turn(query.page + 1));
const filter = document.getElementById("mq-filter");
filter.addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("input", () => {
  query.search = filter.elements.search.value;
  query.state = filter.elements.state.value;
  turn(1);
});

follow(() => page.dataset.process, showProcess);
follow(() => `${page.dataset.workers}?${new URLSearchParams(query)}`, showWorkers);
setInterval(tick, 250);
