// The condition as rows and groups. It changes the text only when somebody changes a row.
import { Combobox } from "../combobox.js";
import { compose, DEEPEST, isGroup, isQuantifier, leaves, modelOf } from "./compose.js";
import { describe } from "./words.js";

const SIGNS = { true: ["✓", "good", "true"], false: ["✗", "bad", "not true"], unknown: ["?", "warn", "unknown"], error: ["!", "bad", "error"] };

function make(tag, properties = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...inside.filter((each) => each !== null));
  return made;
}

function choice(label, options, value, choose) {
  const field = make("select", { "aria-label": label });
  for (const [code, text] of options) field.append(make("option", { value: code, selected: code === value }, text));
  field.addEventListener("change", () => choose(field.value));
  return field;
}

export class Builder {
  constructor(host, words, { write, place, readOnly }) {
    this.host = host;
    this.words = words;
    this.write = write;
    this.place = place;
    this.readOnly = readOnly;
    this.model = modelOf(null);
    this.signs = new Map();
    this.broken = null;
  }

  // Shows a tree; null for an empty text. `broken` is the reason why there is none.
  show(outline, broken = null) {
    this.broken = broken;
    this.model = modelOf(outline);
    if (!this.broken && this.model.root.items.length === 0) this.model.root.items.push(this.blank());
    this.draw();
  }

  // Shows no rows while what is there has not been read: rows of another text would write over it.
  wait() {
    this.model = null;
    this.host.replaceChildren(make("p", { class: "muted" }, "The rows follow as soon as the router has read the expression."));
  }

  blank() {
    return { kind: "clause", field: "", operator: "==", values: [], text: null };
  }

  changed(redraw = true) {
    if (this.model === null) return;
    this.write(compose(this.model, this.words));
    if (redraw) this.draw();
  }

  draw() {
    this.signs.clear();
    if (this.broken !== null) {
      const text = make("p", {}, make("strong", {}, "The builder cannot show this text. "), this.broken, " It is kept as it is: correct it under Expression.");
      this.host.replaceChildren(make("div", { class: "raw" }, text));
      return;
    }
    const held = document.activeElement?.dataset?.key;
    this.host.replaceChildren(this.group(this.model.root, null, 0));
    if (held) this.host.querySelector(`[data-key="${held}"]`)?.focus();
    if (this.told) this.tell(this.told);
  }

  group(group, parent, depth, place = this.place()) {
    const box = make("div", { class: "rows", role: "group", "aria-label": depth ? "Group of conditions" : "Conditions" });
    const head = make("div", { class: "rows-head" });
    head.append(
      choice("How the conditions are joined", [["and", "All of these are true"], ["or", "Any of these is true"]], group.kind, (kind) => {
        group.kind = kind;
        this.changed();
      }),
    );
    if (parent) head.append(this.negate(group, parent), this.remove(group, parent, "group"));
    box.append(head);
    for (const item of group.items) box.append(this.row(item, group, depth, place));
    const add = make("div", { class: "rows-add" });
    const offer = (text, node) => add.append(make("button", { class: "small secondary", type: "button", onclick: () => this.add(group, node()) }, text));
    offer("+ Condition", () => this.blank());
    if (depth < DEEPEST - 1) offer("+ Group", () => ({ kind: group.kind === "and" ? "or" : "and", items: [this.blank()] }));
    if (place === "study") {
      offer("+ Any series", () => ({ kind: "any", item: { kind: "and", items: [this.blank()] } }));
      offer("+ All series", () => ({ kind: "all", item: { kind: "and", items: [this.blank()] } }));
      offer("+ Count series", () => ({ kind: "count", item: { kind: "and", items: [this.blank()] }, relation: ">=", amount: 2 }));
    }
    box.append(add);
    return box;
  }

  add(group, node) {
    group.items.push(node);
    this.changed();
    const fields = this.host.querySelectorAll("input[data-field]");
    [...fields].reverse().find((field) => field.value === "")?.focus();
  }

  row(node, parent, depth, place) {
    if (node.kind === "not") {
      const inner = this.row(node.item, { items: [node.item], wraps: node, parent }, depth, place);
      return inner;
    }
    if (isGroup(node)) return this.group(node, parent, depth + 1, place);
    if (isQuantifier(node)) return this.quantifier(node, parent, depth);
    if (node.kind === "raw") return this.raw(node, parent);
    return this.clause(node, parent, place);
  }

  raw(node, parent) {
    const field = make("textarea", { class: "mono", rows: 2, "aria-label": "Part of the expression", spellcheck: "false" });
    field.value = node.text;
    field.addEventListener("input", () => {
      node.text = field.value;
      this.changed(false);
    });
    const note = make("p", { class: "hint" }, "This part is nested too deeply for rows: it stays as expression.");
    return make("div", { class: "row raw" }, field, note, this.remove(node, parent, "part"));
  }

  quantifier(node, parent, depth) {
    const body = isGroup(node.item) ? node.item : (node.item = { kind: "and", items: [node.item] });
    const head = make("div", { class: "rows-head" }, this.sign(node));
    head.append(
      choice("Of the series", [["any", "Any series"], ["all", "All series"], ["count", "Number of series"]], node.kind, (kind) => {
        Object.assign(node, { kind, relation: node.relation ?? ">=", amount: node.amount ?? 2 });
        this.changed();
      }),
    );
    if (node.kind === "count") {
      const amount = make("input", { type: "number", min: "0", value: String(node.amount), "aria-label": "Number" });
      amount.addEventListener("input", () => {
        node.amount = amount.value === "" ? 0 : Number(amount.value);
        this.changed(false);
      });
      const relations = this.words.all.count_relations.map((each) => [each, each]);
      head.append(choice("Compared with", relations, node.relation, (value) => { node.relation = value; this.changed(false); }), amount);
    }
    head.append(make("span", { class: "muted" }, "of which"), this.negate(node, parent), this.remove(node, parent, "quantifier"));
    return make("div", { class: "rows quantifier" }, head, this.group(body, null, depth + 1, "series in study"));
  }

  // The place of a node among its parent's, which may stand behind a "not".
  place_of(node, parent) {
    const [list, own] = parent.wraps ? [parent.parent.items, parent.wraps] : [parent.items, node];
    return [list, list.indexOf(own)];
  }

  negate(node, parent) {
    const is = Boolean(parent.wraps);
    const toggle = make("button", { class: "small ghost not", type: "button", "aria-pressed": String(is), title: "The opposite of it" }, "not");
    toggle.addEventListener("click", () => {
      const [list, at] = this.place_of(node, parent);
      list[at] = is ? node : { kind: "not", item: node };
      this.changed();
    });
    return toggle;
  }

  remove(node, parent, what) {
    return make("button", { class: "small ghost remove", type: "button", "aria-label": `Remove this ${what}`, title: `Remove this ${what}`, onclick: () => {
      const [list, at] = this.place_of(node, parent);
      list.splice(at, 1);
      if (this.model.root.items.length === 0) this.model.root.items.push(this.blank());
      this.changed();
      this.host.querySelector(".rows-add button")?.focus();
    } }, "✕");
  }

  sign(node) {
    const sign = make("span", { class: "sign quiet", role: "img", "aria-label": "not tried yet" }, "·");
    this.signs.set(node, sign);
    return sign;
  }

  clause(node, parent, place) {
    const row = make("div", { class: "row", role: "group", "aria-label": "Condition" });
    const name = make("input", { value: node.field, "aria-label": "Field", placeholder: "Field: modality, description…", "data-field": "yes", class: "field-name" });
    row.append(this.sign(node), name);
    new Combobox(
      name,
      (query) => this.words.find(query, place).slice(0, 14).map((field) => ({ value: field.name, label: field.name, detail: describe(field) })),
      (value) => {
        node.field = value.trim();
        this.retype(node);
        this.changed();
        row.isConnected || this.host.querySelectorAll(".row").forEach((each) => each.dataset.of === node.field && each.querySelector("select")?.focus());
      },
      { delay: 0 },
    );
    name.addEventListener("change", () => {
      const typed = name.value.trim();
      if (typed === node.field) return;
      const known = this.words.find(typed, place).find((field) => field.name.toLowerCase() === typed.toLowerCase());
      node.field = known ? known.name : typed;
      this.retype(node);
      this.changed();
    });
    row.dataset.of = node.field;
    if (node.field) {
      const operators = this.words.operators(node.field).map(({ operator }) => [operator, SPOKEN[operator] ?? operator]);
      if (!operators.some(([code]) => code === node.operator)) operators.push([node.operator, node.operator]);
      row.append(
        choice("Operator", operators, node.operator, (operator) => {
          const before = this.words.takes(node.field, node.operator);
          node.operator = operator;
          node.text = null;
          const takes = this.words.takes(node.field, operator);
          if (takes !== before && (takes === "duration" || before === "duration" || before === "pattern")) node.values = takes === "duration" ? ["7", "days"] : node.values.slice(0, 1);
          this.changed();
        }),
        this.values(node),
      );
    }
    row.append(this.negate(node, parent), this.remove(node, parent, "condition"));
    return row;
  }

  retype(node) {
    const operators = this.words.operators(node.field).map((each) => each.operator);
    if (operators.length && !operators.includes(node.operator)) [node.operator] = operators;
    node.text = null;
  }

  values(node) {
    const takes = this.words.takes(node.field, node.operator);
    const box = make("span", { class: "row-values" });
    const set = (at, value) => {
      node.values[at] = value;
      node.text = null;
      this.changed(false);
    };
    const one = (at, label, suggest = true) => {
      const field = make("input", { value: node.values[at] ?? "", "aria-label": label, placeholder: EXAMPLES[this.words.type(node.field)] ?? "value" });
      field.addEventListener("input", () => set(at, field.value));
      box.append(field);
      if (suggest) new Combobox(field, async (part, signal) => (await this.words.values(node.field, part, signal)).map(({ value, series }) => ({ value, label: value, detail: `${series} series` })), (value) => set(at, value));
    };
    switch (takes) {
      case "nothing":
        break;
      case "list":
        if (node.values.length === 0) node.values.push("");
        node.values.forEach((_, at) => one(at, `Value ${at + 1}`));
        box.append(make("button", { class: "small ghost", type: "button", "aria-label": "+ or one more value", onclick: () => { node.values.push(""); this.draw(); } }, "+ or"));
        break;
      case "range":
        one(0, "From", false);
        box.append("and");
        one(1, "To", false);
        break;
      case "pattern": {
        one(0, "Pattern", false);
        const tick = make("input", { type: "checkbox", checked: node.values[1] === "i" });
        tick.addEventListener("change", () => set(1, tick.checked ? "i" : ""));
        box.append(make("label", { class: "check" }, tick, "ignore case"));
        break;
      }
      case "duration":
        one(0, "Amount", false);
        box.append(choice("Unit", this.words.all.units.map((unit) => [unit, unit]), node.values[1] ?? "days", (unit) => set(1, unit)));
        break;
      default:
        one(0, "Value");
    }
    return box;
  }

  // Shows of each row what it came to for the series that is looked at.
  tell(clauses) {
    this.told = clauses;
    if (this.broken !== null || this.model === null) return;
    const nodes = leaves(this.model.root);
    nodes.forEach((node, at) => {
      const sign = this.signs.get(node);
      const [text, tone, said] = SIGNS[nodes.length === clauses.length ? clauses[at]?.outcome : ""] ?? ["·", "quiet", "not tried"];
      if (!sign) return;
      sign.textContent = text;
      sign.className = `sign ${tone}`;
      sign.setAttribute("aria-label", said);
      const saw = clauses[at]?.seen?.length ? `saw ${clauses[at].seen.join(" \\ ")}` : clauses[at]?.reason ?? "";
      sign.title = nodes.length === clauses.length ? `${said}${saw ? `: ${saw}` : ""}` : "";
    });
  }
}

const SPOKEN = {
  "==": "is", "!=": "is not", "<": "is less than", "<=": "is at most", ">": "is more than", ">=": "is at least", "~=": "is, in any case of letters",
  in: "is one of", "not in": "is none of", has: "has the value", matches: "matches the pattern", "within last": "is within the last", between: "is between",
};
const EXAMPLES = { number: "number", date: "2026-01-31", time: "13:30", datetime: "2026-01-31 13:30", age: "065Y", weekday: "monday" };
