// The rule language for CodeMirror: its tokens as the server's lexer has them, and what can be completed where.
import { HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { tags } from "@lezer/highlight";

import { describe } from "./words.js";
import { quote } from "./compose.js";

const NAME = "(?:[A-Za-z_][A-Za-z0-9_]*|\\([ \\t]*[0-9A-Fa-f]{4}[ \\t]*,[ \\t]*[0-9A-Fa-f]{4}[ \\t]*\\))";
const TOKENS = [
  ["comment", /^#[^\n]*/],
  ["name", new RegExp(`^${NAME}(?:\\.${NAME})*`)],
  ["number", /^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?/],
  ["string", /^(?:"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)/],
  ["regexp", /^\/(?:\\.|[^/\\\n])*\/?[A-Za-z]*/],
  ["operator", /^(?:==|!=|<=|>=|~=|<|>)/],
  ["bracket", /^[()[\],]/],
];

export function language(words) {
  const keywords = new Set(words.all.keywords);
  return StreamLanguage.define({
    name: "rule",
    token(stream) {
      if (stream.eatSpace()) return null;
      for (const [kind, pattern] of TOKENS) {
        const found = stream.match(pattern);
        if (!found) continue;
        if (kind === "name") return keywords.has(found[0].toLowerCase()) ? "keyword" : words.fields.has(found[0].split(".").pop()) || found[0].startsWith("(") ? "propertyName" : "invalid";
        return kind;
      }
      stream.next();
      return "invalid";
    },
    languageData: { commentTokens: { line: "#" }, closeBrackets: { brackets: ["(", "[", '"'] } },
  });
}

export const colours = syntaxHighlighting(
  HighlightStyle.define([
    { tag: tags.keyword, class: "tok-word" },
    { tag: tags.propertyName, class: "tok-field" },
    { tag: tags.string, class: "tok-text" },
    { tag: tags.regexp, class: "tok-pattern" },
    { tag: tags.number, class: "tok-number" },
    { tag: tags.comment, class: "tok-comment" },
    { tag: tags.operator, class: "tok-operator" },
    { tag: tags.invalid, class: "tok-unknown" },
  ]),
);

const CONNECTIVES = ["and", "or"];
const LEADING = ["not", "("];

// What stands before a place: the field whose operator or value is awaited, if there is one.
export function stateAt(text, words) {
  let rest = text;
  let field = "";
  let operator = "";
  let wants = "field";
  let list = false;
  while (rest !== "") {
    const space = /^\s+/.exec(rest);
    if (space) rest = rest.slice(space[0].length);
    if (rest === "") break;
    const [kind, found] = next(rest);
    rest = rest.slice(found.length);
    const word = found.toLowerCase();
    if (kind === "comment") continue;
    if (wants === "field") {
      if (kind === "name" && !words.all.keywords.includes(word)) [field, operator, wants] = [found, "", "operator"];
    } else if (wants === "operator") {
      operator = `${operator} ${word}`.trim();
      const takes = words.operators(field).find((each) => each.operator === operator)?.takes;
      if (takes === "nothing") wants = "connective";
      else if (takes && !longer(operator, words.operators(field), rest)) wants = takes === "list" ? "list" : "value";
    } else if (wants === "list") {
      if (found === "[") [wants, list] = ["value", true];
    } else if (found === "]" || (!list && ["string", "number", "regexp"].includes(kind))) {
      [wants, list] = ["connective", false];
    } else if (wants === "connective" && CONNECTIVES.includes(word)) wants = "field";
  }
  return { field, operator, wants };
}

// Whether what follows makes another operator of it, as "with" does of "starts".
function longer(operator, operators, rest) {
  return operators.some((each) => each.operator.startsWith(`${operator} `) && rest.trim().toLowerCase().startsWith(each.operator.slice(operator.length + 1)));
}

function next(rest) {
  for (const [kind, pattern] of TOKENS) {
    const found = pattern.exec(rest);
    if (found && found[0] !== "") return [kind, found[0]];
  }
  return ["other", rest[0]];
}

// Puts a value in; the quote that was closed by itself is not needed any more.
function putValue(view, { label }, from, to) {
  const end = label.endsWith('"') && view.state.sliceDoc(to, to + 1) === '"' ? to + 1 : to;
  view.dispatch({ changes: { from, to: end, insert: label }, selection: { anchor: from + label.length }, userEvent: "input.complete" });
}

export function completions(words, place) {
  return async (context) => {
    const open = context.matchBefore(/"[^"\n]*$/) ?? context.matchBefore(/[A-Za-z0-9_.]*$/);
    const from = open ? open.from : context.pos;
    const typed = open ? open.text : "";
    const { field, wants } = stateAt(context.state.sliceDoc(0, from), words);
    if (!context.explicit && typed === "" && wants === "field") return null;
    if (wants === "operator") {
      const options = words.operators(field).map(({ operator }, place) => ({ label: operator, apply: `${operator} `, boost: -place, type: "keyword" }));
      return { from, options, validFor: /^[A-Za-z ]*$/ };
    }
    if (wants === "value") {
      const abort = new AbortController();
      context.addEventListener("abort", () => abort.abort());
      const part = typed.replace(/^"/, "");
      const found = await words.values(field, part, abort.signal).catch(() => []);
      const number = words.type(field) === "number";
      const options = found.map(({ value, series }, place) => ({ label: number ? value : quote(value), detail: `${series} series`, boost: -place, type: "constant", apply: putValue }));
      return options.length ? { from, options, filter: false } : null;
    }
    if (wants === "connective") {
      return { from, options: CONNECTIVES.map((label) => ({ label, apply: `${label} `, type: "keyword" })), validFor: /^[a-z]*$/ };
    }
    if (wants !== "field" || typed.startsWith('"')) return null;
    const options = words.find(typed, place()).map((field, at) => ({ label: field.name, detail: describe(field), apply: `${field.name} `, boost: 60 - at, type: "property" }));
    for (const label of [...LEADING, ...(place() === "study" ? words.all.quantifiers.map((each) => `${each} (`) : [])]) options.push({ label, type: "keyword", boost: -60 });
    return { from, options, filter: false };
  };
}
