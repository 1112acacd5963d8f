// The expression as text: CodeMirror in the place of the plain field, which stays what the form sends.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching } from "@codemirror/language";
import { setDiagnostics, lintKeymap } from "@codemirror/lint";
import { EditorState, StateEffect, StateField, Transaction } from "@codemirror/state";
import { Decoration, EditorView, drawSelection, highlightSpecialChars, keymap, placeholder } from "@codemirror/view";

import { colours, completions, language } from "./language.js";

const setMarks = StateEffect.define();
const marks = StateField.define({
  create: () => Decoration.none,
  update(found, transaction) {
    let next = found.map(transaction.changes);
    for (const effect of transaction.effects) if (effect.is(setMarks)) next = Decoration.set(effect.value, true);
    return next;
  },
  provide: (field) => EditorView.decorations.from(field),
});

// Text that takes the place of other text is put in here, not by the browser: Chromium keeps the look of what was there
// in an inline style on what it puts in its place, which the content policy blocks and the console tells of. Who handles
// input goes first, as with any other: a bracket or a quote is put around the text.
function replaced(event, view) {
  if (event.inputType !== "insertText" || event.data === null || !event.cancelable || view.composing || view.state.readOnly) return false;
  const selected = view.root.getSelection();
  const range = event.getTargetRanges()[0] ?? (selected?.rangeCount ? selected.getRangeAt(0) : null);
  if (!range || range.collapsed || !view.contentDOM.contains(range.startContainer) || !view.contentDOM.contains(range.endContainer)) return false;
  const ends = [view.posAtDOM(range.startContainer, range.startOffset), view.posAtDOM(range.endContainer, range.endOffset)];
  const [from, to] = [Math.min(...ends), Math.max(...ends)];
  if (from === to) return false;
  event.preventDefault();
  const insert = () => view.state.update({ changes: { from, to, insert: event.data }, selection: { anchor: from + event.data.length }, userEvent: "input.type", scrollIntoView: true });
  if (!view.state.facet(EditorView.inputHandler).some((handles) => handles(view, from, to, event.data, insert))) view.dispatch(insert());
  return true;
}

// Code points, as the server counts, to the units in which a browser counts.
export function unit(text, at) {
  return [...text].slice(0, at).join("").length;
}

export function makeEditor({ area, parent, words, nonce, place, changed, label, readOnly }) {
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: area.value,
      extensions: [
        EditorView.cspNonce.of(nonce),
        history(),
        drawSelection(),
        highlightSpecialChars(),
        bracketMatching(),
        closeBrackets(),
        marks,
        language(words),
        colours,
        autocompletion({ override: [completions(words, place)], activateOnTyping: true, icons: false, interactionDelay: 0 }),
        keymap.of([...closeBracketsKeymap, ...completionKeymap, ...defaultKeymap, ...historyKeymap, ...lintKeymap]),
        EditorView.lineWrapping,
        EditorState.readOnly.of(readOnly),
        placeholder('Modality == "MR" and StudyDescription contains "brain"'),
        EditorView.domEventHandlers({ beforeinput: replaced }),
        EditorView.contentAttributes.of({ "aria-labelledby": label, "aria-multiline": "true", spellcheck: "false" }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          area.value = update.state.doc.toString();
          changed(update.transactions.some((each) => each.annotation(Transaction.userEvent) === "builder"));
        }),
      ],
    }),
  });
  return {
    view,
    text: () => view.state.doc.toString(),
    // Only what differs is replaced, so that undo and the cursor stay sensible.
    write(text, from = "builder") {
      const before = view.state.doc.toString();
      if (text === before) return;
      let start = 0;
      while (start < Math.min(text.length, before.length) && text[start] === before[start]) start += 1;
      let end = 0;
      while (end < Math.min(text.length, before.length) - start && text.at(-1 - end) === before.at(-1 - end)) end += 1;
      view.dispatch({ changes: { from: start, to: before.length - end, insert: text.slice(start, text.length - end) }, userEvent: from });
    },
    diagnose(check) {
      const text = view.state.doc.toString();
      const found = [];
      for (const [severity, list] of [["error", check?.problems ?? []], ["warning", check?.warnings ?? []]]) {
        for (const item of list) {
          const from = Math.min(unit(text, item.start), text.length);
          const to = Math.max(Math.min(unit(text, item.end), text.length), from);
          const wish = item.expected?.length ? ` Expected: ${item.expected.slice(0, 6).join(", ")}.` : "";
          const actions = item.suggestion
            ? [{ name: `Use ${item.suggestion}`, apply: (there, start, stop) => there.dispatch({ changes: { from: start, to: stop, insert: item.suggestion } }) }]
            : [];
          found.push({ from, to, severity, message: `${item.message}.${wish}`, actions });
        }
      }
      view.dispatch(setDiagnostics(view.state, found));
    },
    mark(clauses) {
      const text = view.state.doc.toString();
      const length = text.length;
      const found = [];
      for (const clause of clauses) {
        const [from, to] = [unit(text, clause.start), unit(text, clause.end)];
        if (from < to && to <= length) found.push(Decoration.mark({ class: `came-${clause.outcome}` }).range(from, to));
      }
      view.dispatch({ effects: setMarks.of(found) });
    },
  };
}
