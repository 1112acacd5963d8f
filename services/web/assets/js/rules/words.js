// What can be written in a rule, from the server: fields, operators of each type, and the values lately seen.
const MOST = 60;

export class Words {
  constructor(vocabulary) {
    this.all = vocabulary;
    this.fields = new Map(vocabulary.fields.map((field) => [field.name, field]));
    this.seen = new Map();
    this.search = vocabulary.fields.map((field) => ({ field, name: field.name.toLowerCase(), label: field.label.toLowerCase() }));
  }

  static async load() {
    const answer = await fetch("/api/v1/rules/fields", { headers: csrf() });
    if (!answer.ok) throw new Error(`the fields of rules cannot be read (${answer.status})`);
    return new Words(await answer.json());
  }

  type(name) {
    const known = this.fields.get(name);
    if (known) return known.type;
    const last = this.fields.get(name.split(".").pop());
    return last ? last.type : "untyped";
  }

  operators(name) {
    return this.all.types[this.type(name)]?.operators ?? [];
  }

  takes(name, operator) {
    return this.operators(name).find((each) => each.operator === operator)?.takes ?? "value";
  }

  // Fields by name, keyword or description; those that are read from the images first.
  find(query, place) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [];
    for (const { field, name, label } of this.search) {
      if (place && !field.places.includes(place)) continue;
      if (!words.every((word) => name.includes(word) || label.includes(word))) continue;
      const starts = words.length && (name.startsWith(words[0]) || label.startsWith(words[0]));
      const exact = words.length === 1 && name === words[0];
      found.push([exact ? 0 : (field.collected ? 1 : 3) + (starts ? 0 : 1), found.length, field]);
    }
    return found.sort((one, two) => one[0] - two[0] || one[1] - two[1]).slice(0, MOST).map((item) => item[2]);
  }

  async values(name, part, signal) {
    const key = `${name}\n${part}`;
    if (!this.seen.has(key)) {
      const asked = new URLSearchParams({ field: name, part });
      const answer = await fetch(`/api/v1/rules/values?${asked}`, { headers: csrf(), signal });
      if (!answer.ok) return [];
      if (this.seen.size > 500) this.seen.clear();
      this.seen.set(key, (await answer.json()).values);
    }
    return this.seen.get(key);
  }
}

export function csrf() {
  return { "x-csrf-token": document.querySelector("#rule-form input[name=_csrf]").value, accept: "application/json" };
}

// A short description of a field, for a list of choices.
export function describe(field) {
  return `${field.label}${field.fact ? "" : field.collected ? "" : ", not read from the images"}`;
}
