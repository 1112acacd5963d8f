// What stands beside the editor: what the draft comes to for the last series, its test cases, its effect on the past.
const SIGNS = { true: ["good", "✓"], false: ["bad", "✗"], unknown: ["warn", "?"], error: ["bad", "!"] };
const VERDICTS = { match: "matches", no_match: "does not match", unknown: "unknown", error: "error" };
const TONES = { match: "good", no_match: "quiet", unknown: "warn", error: "bad" };

export function make(tag, attributes = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inside.filter((each) => each !== null && each !== undefined));
  return made;
}

const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
const sign = (outcome) => make("span", { class: `sign ${SIGNS[outcome][0]}`, role: "img", "aria-label": outcome }, SIGNS[outcome][1]);
const badge = (tone, text) => make("span", { class: `badge ${tone}` }, text);
const linkTo = (item) => (item.study_uid && !item.series_uid ? `/studies/${item.study_uid}` : `/series/${item.series_uid}`);
const idOf = (item) => item.series_uid ?? item.study_uid;
const things = (study, number) => (study ? count(number, "study", "studies") : count(number, "series", "series"));

function titled(item) {
  return item.description || idOf(item);
}

// The sentence, and for how many each condition is true: the one that is true for none is the one to look at.
export function showTally(host, tried, study) {
  if (!tried.looked_at) {
    host.replaceChildren(make("p", { class: "muted" }, tried.looked_at === 0 ? "Nothing has been received yet to try it on." : ""));
    return;
  }
  const { match, unknown, error, looked_at: all } = tried;
  const line = make("p", { class: "tally" }, make("strong", {}, String(match)), ` of the last ${things(study, all)} ${match === 1 ? "matches" : "match"}`);
  if (unknown) line.append(", ", make("span", { class: "warn-text" }, `${unknown} unknown`));
  if (error) line.append(", ", make("span", { class: "bad-text" }, `${error} with an error`));
  const rows = tried.clauses.map((clause) => {
    const meter = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of [["class", "meter"], ["viewBox", `0 0 ${all} 1`], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) meter.setAttribute(name, value);
    let at = 0;
    for (const [outcome, tone] of [["true", "good"], ["unknown", "warn"]]) {
      const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [name, value] of [["class", tone], ["x", at], ["y", 0], ["height", 1], ["width", clause[outcome]]]) part.setAttribute(name, value);
      meter.append(part);
      at += clause[outcome];
    }
    const told = `${clause.true} true${clause.unknown ? `, ${clause.unknown} unknown` : ""}`;
    return make("li", {}, make("code", {}, clause.text), make("span", { class: clause.true ? "muted" : "warn-text" }, told), meter);
  });
  host.replaceChildren(line);
  if (rows.length > 1 || match === 0) host.append(make("ul", { class: "clause-list" }, ...rows));
}

// A list to choose from, and the chosen one clause by clause.
export function showWhy(host, tried, chosen, { choose, keep }) {
  const study = Boolean((tried.matching ?? [])[0]?.study_uid ?? (tried.others ?? [])[0]?.study_uid);
  const known = [...(tried.matching ?? []), ...(tried.others ?? [])];
  const one = tried.chosen ?? known.find((item) => idOf(item) === chosen) ?? known[0];
  const lists = [["Newest that match", tried.matching], ["Newest that do not, closest first", tried.others]];
  const parts = lists.filter(([, items]) => items?.length).map(([title, items]) => {
    const list = make("ul", { class: "pick" });
    for (const item of items) {
      const button = make("button", { type: "button", "aria-pressed": String(one && idOf(item) === idOf(one)) }, make("bdi", {}, titled(item)), make("small", {}, `${item.modality} ${item.source}`));
      button.addEventListener("click", () => choose(idOf(item)));
      list.append(make("li", {}, button, item.near ? badge("warn", "one clause off") : null));
    }
    return make("div", {}, make("h3", {}, title), list);
  });
  const focused = host.contains(document.activeElement) ? document.activeElement.textContent : null;
  host.replaceChildren(make("div", { class: "columns" }, ...parts), one ? detail(one, study, keep) : "");
  if (focused) [...host.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
  return one ?? null;
}

function detail(one, study, keep) {
  const head = make("p", { class: "one" }, make("a", { href: linkTo(one), target: "_blank" }, make("bdi", {}, titled(one))), " ", badge(TONES[one.verdict], VERDICTS[one.verdict]));
  const list = make("ul", { class: "clauses" });
  for (const clause of one.clauses) {
    const saw = clause.seen.length ? make("span", {}, "saw ", make("bdi", { class: "mono" }, clause.seen.join(" \\ "))) : make("span", { class: "muted" }, clause.reason || "missing");
    list.append(make("li", {}, sign(clause.outcome), make("div", {}, make("code", {}, clause.text), saw, clause.seen.length && clause.reason ? make("span", { class: "muted" }, clause.reason) : null)));
  }
  if (one.clauses.length === 0) list.append(make("li", {}, make("span", { class: "muted" }, "No condition: it applies to everything that no other rule matched.")));
  const box = make("div", { class: "detail" }, head, list);
  if (!study) {
    const row = make("div", { class: "actions" }, make("span", { class: "muted" }, "Keep as test case:"));
    for (const [verdict, text] of [["match", "must match"], ["no_match", "must not match"]]) {
      const button = make("button", { class: "small secondary", type: "button" }, text);
      button.addEventListener("click", () => keep(one.series_uid, verdict));
      row.append(button);
    }
    box.append(row);
  }
  return box;
}

export function showCases(told) {
  const blocks = [...document.querySelectorAll("#case-list > details:not(.is-removed)")].filter((block) => {
    const field = (name) => block.querySelector(`[name$="-${name}"]`)?.value.trim();
    return field("name") || field("tags");
  });
  let failing = 0;
  blocks.forEach((block, at) => {
    const said = told[at];
    const state = block.querySelector("[data-state]");
    const reason = block.querySelector("[data-reason]");
    block.querySelector("[data-name]").textContent = block.querySelector('[name$="-name"]').value || "(no name)";
    const wrong = said?.problem ?? (said?.passed === false ? said.reason : "");
    if (wrong) failing += 1;
    state.replaceChildren(said === undefined || (said.problem === undefined && said.passed === undefined) ? "" : badge(wrong ? "bad" : "good", said.problem ? "not complete" : wrong ? "fails" : "passes"));
    reason.textContent = wrong;
    reason.hidden = !wrong;
  });
  return failing;
}

// Reads one message a line while they come.
export async function* messages(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? "";
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.trim()) yield JSON.parse(line);
    if (done) return;
  }
}

export function showProgress(host, done, of, stop) {
  const bar = make("progress", { class: "d-progress", max: String(Math.max(of, 1)), value: String(done), "aria-label": "Backtest" });
  const button = make("button", { class: "small ghost", type: "button" }, "Stop");
  button.addEventListener("click", stop);
  host.replaceChildren(make("p", {}, `${done.toLocaleString("en")} of ${of.toLocaleString("en")} series`), bar, button);
}

export function showEffect(host, result, study) {
  const whole = study ? result.studies : result;
  const rule = whole?.rules?.[0];
  if (!rule) {
    host.replaceChildren(make("p", { class: "muted" }, "Nothing to compare."));
    return;
  }
  const all = study ? whole.studies : result.series;
  const numbers = make("div", { class: "tiles effect" });
  for (const [text, value, tone] of [["matches", rule.matched, ""], ["new", `+${rule.gained}`, rule.gained ? "good-text" : ""], ["lost", `−${rule.lost}`, rule.lost ? "bad-text" : ""], ["unknown", rule.unknown, ""]]) {
    numbers.append(make("div", { class: "tile" }, make("strong", { class: tone }, String(value)), make("span", {}, text)));
  }
  const parts = [numbers, make("p", { class: "hint" }, `Of ${things(study, all)} in ${result.seconds} s, against revision ${result.revision}.${study && whole.more ? " The newest only: there are more in this time." : ""}`)];
  for (const [kind, title, open] of [["gained", "New", true], ["lost", "Lost", true], ["near_misses", "Near misses", false], ["matched", "Matches", false], ["unknown", "Unknown", false], ["errors", "Errors", true]]) {
    const items = rule.samples[kind] ?? [];
    if (!items.length) continue;
    const list = make("ul", { class: "plain-list" });
    for (const item of items) {
      const row = make("li", {}, make("a", { href: linkTo(item), target: "_blank" }, make("bdi", {}, titled(item))), " ", make("span", { class: "muted" }, `${item.modality ?? ""} ${item.source ?? ""}`));
      for (const clause of item.not_true ?? []) row.append(make("small", { class: "because" }, make("code", {}, clause.text), ` is ${clause.outcome}${clause.seen.length ? `, saw ${clause.seen.join(" \\ ")}` : ""}`));
      list.append(row);
    }
    const box = make("details", {}, make("summary", {}, `${title}: ${things(study, rule[kind])}${items.length < rule[kind] ? `, the newest ${items.length}` : ""}`), list);
    box.open = open;
    parts.push(box);
  }
  if (rule.overlaps?.length) {
    const list = make("ul", { class: "plain-list" });
    for (const other of rule.overlaps.slice(0, 8)) list.append(make("li", {}, make("a", { href: `/rules/${other.rule}`, target: "_blank" }, other.rule), ` also matches ${count(other.series, "of these series", "of these series")}`));
    parts.push(make("details", {}, make("summary", {}, `Overlaps with ${count(rule.overlaps.length, "rule", "rules")}`), list));
  } else if (!study && rule.matched) parts.push(make("p", { class: "hint" }, "No other rule matches the same series."));
  const away = result.outcomes?.unmatched;
  if (!study && away && away.before !== away.after) parts.push(make("p", {}, `Unmatched series: ${away.before} before, ${away.after} with it.`));
  host.replaceChildren(...parts);
}

export function showTrouble(host, text) {
  host.replaceChildren(make("p", { class: "field-error", role: "alert" }, text));
}
