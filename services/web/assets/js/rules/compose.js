// The tree of the builder to the text of a rule. What nobody touched keeps the text that the server gave it.
const ESCAPES = { "\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r" };
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
const WIDTH = 100;

export const isGroup = (node) => node.kind === "and" || node.kind === "or";
export const isQuantifier = (node) => node.kind === "any" || node.kind === "all" || node.kind === "count";

export function quote(text) {
  return `"${text.replace(/[\\"\n\t\r]/g, (letter) => ESCAPES[letter])}"`;
}

// A value as it is written for a field of a type: numbers without quotes, everything else with them.
export function literal(text, type, operator) {
  const number = NUMBER.test(text.trim());
  if (type === "number" || type === "age" && number) return text.trim();
  if (type === "untyped" && number && !["~=", "contains", "starts with", "ends with"].includes(operator)) return text.trim();
  return quote(text);
}

function afterOperator(node, type, takes) {
  const values = node.values;
  switch (takes) {
    case "nothing":
      return "";
    case "list":
      return ` [${values.filter((value) => value !== "").map((value) => literal(value, type, node.operator)).join(", ")}]`;
    case "range":
      return ` ${literal(values[0] ?? "", type, node.operator)} and ${literal(values[1] ?? "", type, node.operator)}`;
    case "pattern":
      return ` /${(values[0] ?? "").replace(/\\.|\/|\n/gs, (found) => ({ "/": "\\/", "\n": "\\n" })[found] ?? found)}/${values[1] ?? ""}`;
    case "duration":
      return ` ${values[0] ?? ""} ${values[1] ?? "days"}`;
    default:
      return ` ${literal(values[0] ?? "", type, node.operator)}`;
  }
}

function clause(node, words) {
  if (node.text !== null) return node.text;
  const type = words.type(node.field);
  return `${node.field} ${node.operator}${afterOperator(node, type, words.takes(node.field, node.operator))}`;
}

function wrapped(node, words) {
  const text = one(node, words);
  return isGroup(node) && filled(node).length > 1 ? `(${text})` : text;
}

const isEmpty = (node) => (node.kind === "clause" ? node.text === null && node.field === "" : inside(node).every(isEmpty));
const inside = (node) => (isGroup(node) ? node.items : node.item ? [node.item] : []);
const filled = (node) => node.items.filter((item) => item.kind === "raw" ? item.text.trim() !== "" : !isEmpty(item));

export function one(node, words) {
  switch (node.kind) {
    case "and":
    case "or":
      return filled(node).map((item) => wrapped(item, words)).join(` ${node.kind} `);
    case "not":
      return `not ${wrapped(node.item, words)}`;
    case "any":
    case "all":
      return `${node.kind} series (${one(node.item, words)})`;
    case "count":
      return `count series (${one(node.item, words)}) ${node.relation} ${node.amount}`;
    case "raw":
      return node.text.trim();
    default:
      return clause(node, words);
  }
}

// Like the server's own form: one line if it fits, otherwise one operand a line.
export function compose(model, words) {
  const root = model.root;
  const line = one(root, words);
  const long = line.length > WIDTH && isGroup(root) && filled(root).length > 1;
  const text = long ? filled(root).map((item) => wrapped(item, words)).join(`\n  ${root.kind} `) : line;
  return [...model.comments.map((comment) => `# ${comment}`.trimEnd()), text].join("\n");
}

// The tree as the server gives it, as what the builder edits: its outermost node is always a group.
export function modelOf(outline) {
  const root = outline ? copy(outline.root) : { kind: "and", items: [] };
  return { comments: outline ? [...outline.comments] : [], root: isGroup(root) ? root : { kind: "and", items: [root] } };
}

export const DEEPEST = 4;

function copy(node, depth = 0) {
  if (depth > DEEPEST && node.kind !== "clause") return { kind: "raw", text: node.kind === "or" || node.kind === "and" ? `(${node.text})` : node.text };
  if (isGroup(node)) return { kind: node.kind, items: node.items.map((item) => copy(item, depth + 1)) };
  if (node.kind === "clause") return { kind: "clause", field: node.field, operator: node.operator, values: [...node.values], text: node.text };
  return { kind: node.kind, item: copy(node.item, depth + (node.kind === "not" ? 0 : 1)), relation: node.relation, amount: node.amount };
}

// The clauses that the server explains, in its order: a quantifier is one of them, what is inside it is not.
export function leaves(node) {
  if (isGroup(node)) return node.items.flatMap(leaves);
  if (node.kind === "not") return leaves(node.item);
  if (node.kind === "clause" && isEmpty(node)) return [];
  return [node];
}
