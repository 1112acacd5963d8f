// The page of one rule: its condition in two faces, and beside it what it comes to. Without this it is a plain form.
import { Builder } from "./rules/builder.js";
import { makeEditor } from "./rules/editor.js";
import { messages, showCases, showEffect, showProgress, showTally, showTrouble, showWhy } from "./rules/panels.js";
import { Words } from "./rules/words.js";

const PAUSE = 300;
const FACE = "hermes-rule-face";
const nonce = document.querySelector("script[data-workbench]")?.nonce ?? "";

class Workbench {
  constructor(form, words) {
    this.form = form;
    this.words = words;
    const at = (selector) => form.querySelector(selector);
    this.parts = Object.fromEntries(
      [["area", "#expression"], ["code", "#code"], ["text", "#text-face"], ["builder", "#builder"], ["tally", "#tally"], ["why", "#series-seen"], ["series", "#series"], ["said", "#said"], ["effect", "#backtested"], ["faces", ".faces"], ["tidy", "#tidy"], ["scope", "#scope"], ["cases", "#case-list"]].map(([name, selector]) => [name, at(selector)]),
    );
    const place = () => (this.parts.scope.value === "study" ? "study" : "series");
    this.check = null;
    this.dirty = false;
    this.picked = "";
    const label = at("#expression-label");
    label.removeAttribute("for");
    this.parts.area.hidden = true;
    this.parts.code.hidden = false;
    at("#server-said").remove();
    at("#one-more").remove();
    this.editor = makeEditor({ area: this.parts.area, parent: this.parts.code, words, nonce, place, label: label.id, readOnly: false, changed: (byBuilder) => this.changed(byBuilder) });
    this.builder = new Builder(this.parts.builder, words, { write: (text) => this.editor.write(text), place });
    this.listen();
    this.ask();
  }

  get face() {
    return this.form.querySelector("input[name=face]:checked").value;
  }

  listen() {
    const { faces, tidy, scope, series, cases } = this.parts;
    faces.hidden = false;
    tidy.hidden = false;
    const kept = localStorage.getItem(FACE) === "text" ? "text" : "builder";
    this.form.querySelector(`input[name=face][value=${kept}]`).checked = true;
    faces.addEventListener("change", () => {
      localStorage.setItem(FACE, this.face);
      this.turn();
    });
    this.turn(false);
    tidy.addEventListener("click", () => {
      this.tidyAfter = true;
      if (!this.stale) this.tidy();
    });
    scope.addEventListener("change", () => {
      this.picked = "";
      this.turn(false);
    });
    series.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault();
    });
    this.form.addEventListener("input", (event) => {
      if (!event.target.closest("#code, #builder") && event.target.name !== "face" && event.target.name !== "why") this.later();
      if (event.target !== series) this.dirty = true;
    });
    this.form.addEventListener("change", (event) => event.target.matches("select, [type=checkbox]") && this.later());
    const add = document.createElement("button");
    Object.assign(add, { type: "button", className: "small secondary", textContent: "Add a test case" });
    add.addEventListener("click", () => this.addCase({ name: "", tags: "", verdict: "match" }).querySelector("input").focus());
    cases.after(add);
    cases.addEventListener("click", (event) => {
      if (!event.target.matches("[data-remove]")) return;
      event.target.closest("details").remove();
      add.focus();
      this.later();
    });
    document.querySelectorAll("[data-add]").forEach((button) => button.addEventListener("click", () => this.append(button)));
    document.querySelector("#backtest").addEventListener("click", (event) => {
      event.preventDefault();
      this.backtest();
    });
    this.form.addEventListener("submit", () => (this.dirty = false));
    addEventListener("beforeunload", (event) => this.dirty && event.preventDefault());
  }

  append(button) {
    const text = this.editor.text().trim();
    const simple = this.check?.outline?.root.kind !== "or";
    this.editor.write(text === "" ? button.dataset.add : `${simple ? text : `(${text})`}\n and ${button.dataset.add}`, "offer");
    button.closest("li").remove();
    this.drawAfter = true;
  }

  // Changes the face; the text stays byte for byte as it is.
  turn(focus = true) {
    const text = this.face === "text";
    this.parts.text.hidden = !text;
    this.parts.builder.hidden = text;
    if (!text) this.draw();
    else {
      this.editor.view.requestMeasure();
      if (focus) this.editor.view.focus();
    }
  }

  // Writes the server's own form of the text, as soon as it is known.
  tidy() {
    this.tidyAfter = false;
    if (this.check?.canonical) this.editor.write(this.check.canonical, "format");
  }

  // Draws the rows of what is there now; while that is not known yet, as soon as it is.
  draw() {
    this.drawAfter = false;
    if (this.editor.text().trim() === "") this.builder.show(null);
    else if (this.check === null || this.stale) {
      this.drawAfter = true;
      this.builder.wait();
    }
    else if (this.check.valid) this.builder.show(this.check.outline);
    else this.builder.show(null, said(this.check.problems[0]));
  }

  changed(byBuilder) {
    this.dirty = true;
    this.stale = true;
    if (!byBuilder && this.face === "builder") this.draw();
    this.later();
  }

  later() {
    clearTimeout(this.timer);
    this.abort?.abort();
    this.abort = null;
    this.form.classList.add("is-asking");
    this.timer = setTimeout(() => this.ask(), PAUSE);
  }

  body() {
    const sent = new URLSearchParams(new FormData(this.form));
    if (this.picked && !sent.get("series")) sent.set("series", this.picked);
    return sent;
  }

  async ask() {
    const abort = (this.abort = new AbortController());
    const body = this.body();
    if (this.parts.scope.value === "study" && this.picked) body.delete("series");
    const text = this.editor.text();
    try {
      const answer = await fetch("/rules/_live", { method: "POST", body, signal: abort.signal, headers: { accept: "application/json" } });
      if (!answer.ok) throw new Error(answer.status === 403 ? "You are signed out: open the page again in another tab, then go on here." : `The router does not answer (${answer.status}). What you typed is safe in this page.`);
      const told = await answer.json();
      if (abort.signal.aborted) return;
      this.stale = text !== this.editor.text();
      this.show(told);
    } catch (error) {
      if (abort.signal.aborted) return;
      showTrouble(this.parts.said, error instanceof TypeError ? "The router does not answer. What you typed is safe in this page; it is tried again when you go on." : error.message);
    } finally {
      if (this.abort === abort) this.form.classList.remove("is-asking");
    }
  }

  show(told) {
    const study = this.parts.scope.value === "study";
    this.check = told.check;
    this.editor.diagnose(told.check);
    this.parts.said.replaceChildren(...this.remarks(told));
    if (this.tidyAfter && !this.stale) this.tidy();
    if (this.drawAfter && !this.stale) this.draw();
    showTally(this.parts.tally, told.tried, study);
    const one = showWhy(this.parts.why, told.tried, this.picked, {
      choose: (uid) => {
        this.picked = uid;
        this.parts.series.value = study ? "" : uid;
        this.last = told;
        this.ask();
      },
      keep: (uid, verdict) => this.keep(uid, verdict),
    });
    this.editor.mark(one?.clauses ?? []);
    this.builder.tell(one?.clauses ?? []);
    showCases(told.cases);
    if (this.parts.effect.childElementCount && this.dirty && !this.running) this.parts.effect.classList.add("is-old");
  }

  remarks(told) {
    const found = [];
    const list = [...(told.check?.problems ?? []).map((item) => ["bad", "not a rule yet", item]), ...(told.check?.warnings ?? []).map((item) => ["warn", "look again", item])];
    for (const [tone, word, item] of list.slice(0, 6)) {
      const line = document.createElement("p");
      const badge = document.createElement("span");
      badge.className = `badge ${tone}`;
      badge.textContent = word;
      line.append(badge, ` ${said(item)} `);
      if (item.suggestion) {
        const use = document.createElement("button");
        Object.assign(use, { type: "button", className: "small secondary", textContent: `Use ${item.suggestion}` });
        use.addEventListener("click", () => this.use(item));
        line.append(use);
      }
      found.push(line);
    }
    if (told.problem) {
      const line = document.createElement("p");
      line.className = "muted";
      line.textContent = told.problem;
      found.push(line);
    }
    return found;
  }

  use(item) {
    const letters = [...this.editor.text()];
    letters.splice(item.start, item.end - item.start, item.suggestion);
    this.editor.write(letters.join(""), "suggestion");
  }

  async keep(uid, verdict) {
    const body = this.body();
    body.set("series", uid);
    const answer = await fetch("/rules/_case", { method: "POST", body, headers: { accept: "application/json" } }).catch(() => null);
    if (!answer?.ok) {
      showTrouble(this.parts.said, "The series cannot be read now.");
      return;
    }
    const made = await answer.json();
    const names = new Set([...this.parts.cases.querySelectorAll('[name$="-name"]')].map((field) => field.value));
    let name = made.name;
    for (let number = 2; names.has(name); number += 1) name = `${made.name.slice(0, 112)} (${number})`;
    this.addCase({ ...made, name, verdict }).open = false;
    this.later();
  }

  addCase({ name, tags, verdict }) {
    const used = [...this.parts.cases.querySelectorAll('[name$="-name"]')].map((field) => Number(field.name.split("-")[1]));
    const number = Math.max(-1, ...used) + 1;
    const copy = document.querySelector("#case-template").content.cloneNode(true);
    for (const element of copy.querySelectorAll("[id], [name], [for]")) {
      for (const attribute of ["id", "name", "for"]) {
        if (element.hasAttribute(attribute)) element.setAttribute(attribute, element.getAttribute(attribute).replace("NUMBER", number));
      }
    }
    const block = copy.querySelector("details");
    block.querySelector('[name$="-name"]').value = name;
    block.querySelector('[name$="-tags"]').value = tags;
    block.querySelector('[name$="-verdict"]').value = verdict;
    block.querySelector("[data-name]").textContent = name || "(no name)";
    this.parts.cases.append(block);
    this.dirty = true;
    return block;
  }

  async backtest() {
    this.running?.abort();
    const abort = (this.running = new AbortController());
    const host = this.parts.effect;
    host.classList.remove("is-old");
    const stop = () => abort.abort();
    showProgress(host, 0, 0, stop);
    try {
      const answer = await fetch("/rules/_live_backtest", { method: "POST", body: this.body(), signal: abort.signal });
      if (!answer.ok) throw new Error("The draft cannot be tried: correct the condition first.");
      for await (const message of messages(answer)) {
        if (message.type === "started") showProgress(host, 0, message.of, stop);
        if (message.type === "progress") showProgress(host, message.done, message.of, stop);
        if (message.type === "problem") throw new Error(`${message.problem.detail}. ${message.problem.action}`);
        if (message.type === "result") showEffect(host, message, this.parts.scope.value === "study");
      }
    } catch (error) {
      if (this.running !== abort) return;
      if (abort.signal.aborted) host.replaceChildren("Stopped.");
      else showTrouble(host, error instanceof TypeError ? "The router does not answer." : error.message);
    } finally {
      if (this.running === abort) this.running = null;
    }
  }
}

function said(problem) {
  const place = problem.line ? `Line ${problem.line}, column ${problem.column}: ` : "";
  const wish = problem.expected?.length ? ` Expected: ${problem.expected.slice(0, 5).join(", ")}.` : "";
  return `${place}${problem.message}.${wish}`;
}

const form = document.querySelector("#rule-form");
if (form) {
  Words.load().then(
    (words) => (form.workbench = new Workbench(form, words)),
    (error) => showTrouble(form.querySelector("#said"), `${error.message}: the plain form works all the same.`),
  );
}
